"""Forms that browsers post to pages."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

import errors

_MAX_FIELDS = 10


async def read_form(request: Request, max_bytes: int) -> dict[str, str]:
    """Read a short form, of each field its first value.

    Raises UnsupportedMediaType, PayloadTooLarge or RequestInvalid.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise errors.UnsupportedMediaType("Content-Type should be application/x-www-form-urlencoded")
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise errors.PayloadTooLarge(f"the form may have {max_bytes} bytes at most")
    except ClientDisconnect:
        raise errors.RequestInvalid("the body is incomplete; send the request again") from None
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise errors.RequestInvalid("the form is not encoded as application/x-www-form-urlencoded") from None
    return {name: values[0] for name, values in fields.items()}
