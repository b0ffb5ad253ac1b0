"""Check that the server can listen on its port."""

from __future__ import annotations

import errno
import socket

from errors import Refused


def require_free(host: str, port: int) -> None:
    """Raise Refused where another program has the port, or this one may not listen on it."""
    if port == 0:  # any that is free
        return
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise Refused(refusal(host, port, errno.EADDRNOTAVAIL)) from None
    with socket.socket() as probe:
        is_local = host in ("0.0.0.0", "::", "127.0.0.1", "::1", "localhost")  # noqa: S104 - a comparison
        # First: some systems let two programs listen, one on every address and one on a single one.
        if is_local and probe.connect_ex(("127.0.0.1", port)) == 0:
            raise Refused(refusal(host, port, errno.EADDRINUSE))
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise Refused(refusal(host, port, error.errno)) from None


def refusal(host: str, port: int, number: int | None) -> str:
    """Say why a port is not available, and what to do."""
    if number == errno.EADDRINUSE:
        return f"port {port} is in use by another program; stop it, or choose another port with PORT"
    if number == errno.EACCES:
        return f"port {port} needs privileges; choose one above 1023 with PORT, behind a proxy such as nginx"
    if number == errno.EADDRNOTAVAIL:
        return f"cannot listen on {host}: it is not an address of this machine; choose another with --host"
    reason = errno.errorcode.get(number or 0, "unknown error")
    return f"cannot listen on {host} port {port} ({reason}); choose another with --host and PORT"
