"""Owns what becomes of a push where no Firebase account is configured."""

from __future__ import annotations

import logging
from typing import Literal

from adapters.ports import Push

log = logging.getLogger("parlance.push")


class PushLog:
    async def send(self, token: str, push: Push) -> Literal["sent"]:
        log.info("a push that no Firebase account is there to send: %s", push.title)
        return "sent"

    async def close(self) -> None:
        pass
