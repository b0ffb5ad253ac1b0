"""Log lines instead of pushes, without a Firebase account."""

from __future__ import annotations

import logging
from typing import Literal

from adapters.ports import Push

log = logging.getLogger("parlance.push")


class PushLog:
    async def send(self, token: str, push: Push) -> Literal["sent"]:
        log.info("push_not_sent reason=no_firebase_account title=%r", push.title)
        return "sent"

    async def close(self) -> None:
        pass
