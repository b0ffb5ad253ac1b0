"""WebSocket frames (RFC 6455): constants, and the text frames of the server."""

from __future__ import annotations

import struct

#: The first byte of a text message in one frame, the bytes of an empty frame of a client, and the bit that marks a
#: frame as masked (5.2).
WHOLE_TEXT, MIN_FRAME_BYTES, MASKED = 0x81, 6, 0x80
#: Codes of close frames (7.4.1).
INVALID_TEXT, POLICY_VIOLATION, GOING_AWAY = 1007, 1008, 1012
#: Codes with which clients close: they are done, or their page or app is closed.
GOODBYES = {1000, 1001}


def text_frame(payload: bytes) -> bytes:
    """Frame a text message of the server: whole, and unmasked (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload
