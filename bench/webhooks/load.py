"""The load: `python -m bench.webhooks.load PORT SECONDS RATE CONNECTIONS` sends signed events, each another.

With a RATE they are due at even moments, and a latency counts from the moment at which its event was due, so that what
waits because the server is slow counts too. Without (0) each connection sends when the last was answered. The secret is
STRIPE_WEBHOOK_SECRET. Prints `{requests, seconds, failed, p50, p99, max}`, latencies in milliseconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator

import uvloop

#: More than a server answers in the time of a measurement without a rate.
_AT_MOST_PER_SECOND = 3000


def main() -> None:
    port, rate, connections = int(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
    seconds = float(sys.argv[2])
    count = int((rate or _AT_MOST_PER_SECOND) * seconds)
    # Signed before the clock runs.
    requests = [_request(port, os.environ["STRIPE_WEBHOOK_SECRET"]) for _ in range(count)]
    print(json.dumps(uvloop.run(_run(port, seconds, rate, connections, requests))))


def _request(port: int, secret: str) -> bytes:
    """A paid Checkout Session, as long as Stripe's own are."""
    row = {
        "id": f"cs_test_{uuid.uuid4().hex}",
        "object": "checkout.session",
        "amount_total": 49900,
        "currency": "inr",
        "customer_details": {"email": "ada@example.com", "name": "Ada Lovelace"},
        "livemode": False,
        "metadata": {"internalOrderId": str(uuid.uuid4())},
        "mode": "payment",
        "payment_intent": f"pi_{uuid.uuid4().hex}",
        "payment_status": "paid",
        "status": "complete",
        "url": None,
        "custom_fields": ["x" * 1500],
    }
    kind = "checkout.session.completed"
    event = {
        "id": f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "type": kind,
        "livemode": False,
        "data": {"object": row},
    }
    body = json.dumps(event, indent=2).encode()
    stamp = int(time.time())
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    head = [
        "POST /payments/webhook HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Stripe-Signature: t={stamp},v1={digest}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


async def _run(port: int, seconds: float, rate: int, connections: int, requests: list[bytes]) -> dict[str, float]:
    waiting = iter(enumerate(requests))
    latencies: list[float] = []
    failed = 0
    began = time.perf_counter() + 0.1

    async def send(waiting: Iterator[tuple[int, bytes]]) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number, request in waiting:
            due = began + number / rate if rate else time.perf_counter()
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if time.perf_counter() > began + seconds and not rate:
                break
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            latencies.append(time.perf_counter() - due)
            failed += not head.startswith(b"HTTP/1.1 200 ")
        writer.close()

    await asyncio.gather(*(send(waiting) for _ in range(connections)))
    elapsed = time.perf_counter() - began
    latencies.sort()
    return {
        "requests": len(latencies),
        "seconds": elapsed,
        "failed": failed,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[len(latencies) * 99 // 100] * 1000,
        "max": latencies[-1] * 1000,
    }


if __name__ == "__main__":
    main()
