"""Probe of a TURN server: a relay allocated as a browser does it (RFC 8656), then released."""

from __future__ import annotations

import asyncio

from aioice import stun, turn

import errors
from setting_values import url_host

#: Lifetime of the relay in seconds, if the release fails.
_LIFETIME_SECONDS = 60
_UNAUTHORIZED = 401


class RelayRefused(errors.Refused):
    """The server refuses a relay; the message has the reason."""


class _Client(turn.TurnClientUdpProtocol):
    """aioice's client, which ends at once if the network reports that the port is closed."""

    def __init__(self, server: tuple[str, int], username: str, credential: str) -> None:
        super().__init__(server, username, credential, _LIFETIME_SECONDS, turn.DEFAULT_CHANNEL_REFRESH_TIME)
        self.unreachable: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

    def error_received(self, exc: Exception) -> None:
        if not self.unreachable.done():
            self.unreachable.set_exception(exc)


async def allocate(host: str, port: int, username: str, credential: str) -> str:
    """Allocate a relay over UDP, release it and return its address; raise RelayRefused, OSError or TimeoutError.

    aioice repeats a request for half a minute; set a shorter timeout if needed.
    """
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(
        lambda: _Client((host, port), username, credential), remote_addr=(host, port)
    )
    connecting = asyncio.ensure_future(client.connect())
    try:
        done, _ = await asyncio.wait({connecting, client.unreachable}, return_when=asyncio.FIRST_COMPLETED)
        relay_host, relay_port = done.pop().result()
        if client.realm is None:
            raise RelayRefused("it requires no credentials, so it does not use `use-auth-secret`")
        return f"{url_host(relay_host)}:{relay_port}"
    except stun.TransactionFailed as failure:
        code = failure.response.error_code
        reason = "it refuses our credentials" if code == _UNAUTHORIZED else f"it gives no relay (error {code or 0})"
        raise RelayRefused(reason) from None
    except stun.TransactionTimeout:
        raise TimeoutError from None
    finally:
        connecting.cancel()
        if client.relayed_address is not None:
            await client.delete()
        transport.close()
