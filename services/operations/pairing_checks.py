"""Check of `parlance doctor` on how learners meet."""

from __future__ import annotations

from pairing_settings import PLATFORMS
from services.operations.findings import fault, warning
from settings import Settings


class PairingSettingsCheck:
    """The check returns a summary where all is well, and raises NotOk otherwise."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def check_pairing(self) -> str:
        pairing = self._settings.pairing
        closed = [platform for platform in PLATFORMS if not pairing[platform]]
        if closed:
            fix = "Name a pool for it in PAIRING, such as ios=partners,course;*=anyone,partners,course."
            raise fault(f"nobody can be met on {', '.join(closed)}", fix)
        if not any("anyone" in pools for pools in pairing.values()):
            # Partners are made of calls: without strangers and courses there is no first one.
            fix = "Open anyone on one platform, or course and offer courses."
            if not any("course" in pools for pools in pairing.values()):
                raise fault("learners without a partner can meet nobody, and partners are made of calls", fix)
            raise warning("only learners of the same course can meet for the first time", fix)
        same = len(set(pairing.values())) == 1
        listed = {platform: "+".join(pools) for platform, pools in pairing.items()}
        return listed["web"] if same else ", ".join(f"{platform}: {pools}" for platform, pools in listed.items())
