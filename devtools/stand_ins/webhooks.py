"""Webhook delivery: signed at each attempt, retried until a 2xx, with faults that a test configures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import httpx

from devtools.stand_ins.store import Json, Store, Table, new_id

#: Signs an event's raw body: `(body, event id) -> headers`.
Sign = Callable[[str, str], dict[str, str]]


@dataclass
class Delivery:
    """How events are delivered. The defaults are an attentive provider's, at the pace of a test."""

    #: Event types that are sent (shell patterns), as an endpoint subscribes to them.
    enabled: tuple[str, ...] = ("*",)
    #: Event types that are lost: they happen and can be listed, but are not sent.
    drop: tuple[str, ...] = ()
    #: How often each is sent, at the same moment.
    copies: int = 1
    #: Seconds before the first attempt.
    delay: float = 0
    #: What is due together is sent the last one first.
    reverse: bool = False
    #: What is due together is sent together.
    parallel: bool = False
    #: Nothing is sent until this is off again.
    hold: bool = False
    #: Seconds before the second attempt, doubled for each later one up to the cap.
    backoff: float = 0.1
    backoff_cap: float = 60
    attempts: int = 16
    #: Seconds the receiver has to answer.
    timeout: float = 10


class WebhookSender:
    """The deliveries of both providers. `url` is the receiver; without one they wait, or `deliver` takes them."""

    def __init__(self, store: Store, url: str | None = None, delivery: Delivery | None = None) -> None:
        self.url = url
        self.delivery = delivery or Delivery()
        self._store = store
        self._signers: dict[str, Sign] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        store.on_change = self.wake

    def register(self, provider: str, sign: Sign) -> None:
        self._signers[provider] = sign

    @property
    def _rows(self) -> Table:
        return self._store.table("deliveries")

    def post(self, provider: str, event: str, kind: str, body: str) -> None:
        """Take an event for delivery."""
        if not any(fnmatch(kind, pattern) for pattern in self.delivery.enabled):
            return
        dropped = any(fnmatch(kind, pattern) for pattern in self.delivery.drop)
        key = new_id("dlv_")
        self._rows[key] = {
            "id": key,
            "provider": provider,
            "event": event,
            "type": kind,
            "body": body,
            "state": "dropped" if dropped else "pending",
            "copies": self.delivery.copies,
            "due": time.time() + self.delivery.delay,
            "answers": [],
        }

    def deliveries(self, *, event: str | None = None, state: str | None = None) -> list[Json]:
        """What was sent or is to be, the oldest first; `answers` are the statuses so far, 0 for none."""
        with self._store.lock:
            rows = [{**row, "answers": list(row["answers"])} for row in self._rows.values()]
        return [
            row for row in rows if (event is None or row["event"] == event) and (state is None or row["state"] == state)
        ]

    def resend(self, event: str) -> None:
        """Send an event again that was dropped, given up or delivered: what the dashboard's button does."""
        with self._store.change():
            for row in self._rows.values():
                if row["event"] == event:
                    row.update(state="pending", due=time.time())

    def configure(self, **knobs: Any) -> None:
        """Set some of `Delivery`; what is held goes out once `hold` is off."""
        for name, value in knobs.items():
            if name not in Delivery.__dataclass_fields__:
                raise ValueError(f"no such knob: {name}")
            setattr(self.delivery, name, tuple(value) if isinstance(value, list) else value)
        self.wake()

    def headers(self, row: Json) -> dict[str, str]:
        """The headers of one attempt, signed now."""
        signature = self._signers[row["provider"]](row["body"], row["event"])
        return {"Content-Type": "application/json; charset=utf-8", **signature}

    async def deliver(self, http: httpx.AsyncClient, url: str) -> int:
        """Send what is due through a client of the caller, in the caller's loop; answer how many got a 2xx.

        For a receiver without a port: `deliver(httpx.AsyncClient(transport=httpx.ASGITransport(app)), ...)`.
        """
        with self._store.lock:
            now = time.time()
            due = [row for row in self._rows.values() if row["state"] == "pending" and row["due"] <= now]
        if self.delivery.hold:
            return 0
        if self.delivery.reverse:
            due.reverse()
        if self.delivery.parallel:
            return sum(await asyncio.gather(*(self._attempt(http, url, row) for row in due)))
        return sum([await self._attempt(http, url, row) for row in due])

    async def run(self) -> None:
        """Deliver for ever."""
        self._loop = asyncio.get_running_loop()
        # No proxy of the environment stands between two programs of one machine.
        async with httpx.AsyncClient(trust_env=False) as http:
            while True:
                self._woken.clear()
                if self.url:
                    await self.deliver(http, self.url)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._pause())

    def wake(self) -> None:
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    def _pause(self) -> float | None:
        """Seconds until the next delivery is due; None where only a change can bring one."""
        with self._store.lock:
            due = [row["due"] for row in self._rows.values() if row["state"] == "pending"]
        if not due or self.delivery.hold or not self.url:
            return None
        return max(0.0, float(min(due)) - time.time())

    async def _attempt(self, http: httpx.AsyncClient, url: str, row: Json) -> bool:
        answers = await asyncio.gather(*(self._send(http, url, row) for _ in range(row["copies"])))
        accepted = all(200 <= status < 300 for status in answers)
        with self._store.change():
            row["answers"] += answers
            if accepted:
                row["state"] = "delivered"
            elif len(row["answers"]) >= self.delivery.attempts:
                row["state"] = "given_up"
            else:
                wait = self.delivery.backoff * 2 ** (len(row["answers"]) - 1)
                row["due"] = time.time() + min(wait, self.delivery.backoff_cap)
        return accepted

    async def _send(self, http: httpx.AsyncClient, url: str, row: Json) -> int:
        try:
            answer = await http.post(
                url, content=row["body"].encode(), headers=self.headers(row), timeout=self.delivery.timeout
            )
        except (httpx.HTTPError, httpx.InvalidURL):
            return 0
        return answer.status_code
