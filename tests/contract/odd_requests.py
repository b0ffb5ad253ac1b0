"""Byte streams that HTTP servers have read differently: each a name and what one connection sends."""

from __future__ import annotations

HOST = b"Host: parlance\r\n"
#: What a body hides: were it ever read as a request, it would be answered.
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: parlance\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: parlance\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(HIDDEN)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)

OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "tls": b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "nonsense": b"Connection: upgrade\r\nUpgrade: !#$%&'*+-.^_`|~\r\n",
    "two": b"Connection: keep-alive, upgrade\r\nUpgrade: h2c, websocket\r\nUpgrade: TLS/1.2\r\n",
    "proxy": b"Proxy-Connection: upgrade\r\nUpgrade: h2c\r\n",
    "close": b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n",
    "connection alone": b"Connection: Upgrade\r\n",
    "upgrade alone": b"Upgrade: h2c\r\n",
}


def _post(head: bytes, body: bytes = HIDDEN, line: bytes = b"POST /first HTTP/1.1\r\n") -> bytes:
    return line + HOST + head + b"\r\n" + body + NEXT


def _offers() -> dict[str, bytes]:
    streams = {}
    for name, offer in OFFERS.items():
        for path in (b"/first", b"/socket.io/?EIO=4&transport=websocket"):
            at = "socket.io" if len(path) > 6 else "elsewhere"
            line = b"POST %b HTTP/1.1\r\n" % path
            streams[f"offer {name} {at} length"] = _post(offer + LENGTH, line=line)
            streams[f"offer {name} {at} chunked"] = _post(CHUNKED + offer, CHUNKS, line)
            streams[f"offer {name} {at} no body"] = _post(offer, b"", line.replace(b"POST", b"DELETE"))
            streams[f"offer {name} {at} 1.0"] = _post(offer + LENGTH, line=line.replace(b"1.1", b"1.0"))
        streams[f"offer {name} get with body"] = _post(offer + LENGTH, line=b"GET /first HTTP/1.1\r\n")
        streams[f"offer {name} line breaks"] = _post(offer + b"Content-Length: 40\r\n", b"\r\n" * 20)
        streams[f"offer {name} behind another"] = NEXT + _post(offer + LENGTH)
        streams[f"offer {name} twice"] = _post(offer + LENGTH) + _post(offer + LENGTH)
    return streams


def _lengths() -> dict[str, bytes]:
    size = b"%d" % len(HIDDEN)
    values = [
        *(b"+" + size, b"-" + size, b"0" + size, b"0x" + size, size + b" ", b"\t" + size, size + b"," + size),
        *(size + b", 0", b"0, " + size, b"", b" ", size + b"\x0b", size + b"a", b"1 0", b"1_0", size + b".0", b"1e1"),
        *(b"18446744073709551616", b"18446744073709551657", b"9" * 30, "٤".encode(), b"\x0c" + size, size + b";"),
    ]
    streams = {f"length {value!r}": _post(b"Content-Length: " + value + b"\r\n") for value in values}
    for name, head in {
        "twice": LENGTH + LENGTH,
        "differing": b"Content-Length: 0\r\n" + LENGTH,
        "differing, reversed": LENGTH + b"Content-Length: 0\r\n",
        "no space": LENGTH.replace(b": ", b":"),
        "space before": LENGTH.replace(b": ", b" : "),
        "tab before": LENGTH.replace(b": ", b"\t: "),
        "leading space": b" " + LENGTH,
        "lower case": LENGTH.lower(),
        "underscore": LENGTH.replace(b"-", b"_"),
        "nul in name": LENGTH.replace(b"-", b"\0"),
        "folded": LENGTH.replace(b": ", b":\r\n "),
        "too short": b"Content-Length: 4\r\n",
    }.items():
        streams[f"length {name}"] = _post(head)
    return streams


def _transfer_encodings() -> dict[str, bytes]:
    values = [
        *(b"chunked", b"Chunked", b"CHUNKED", b" chunked", b"chunked ", b"\tchunked", b"chunked\t", b"\x0bchunked"),
        *(b"xchunked", b"chunkedx", b"chunked, chunked", b"chunked, identity", b"identity, chunked", b"gzip, chunked"),
        *(b"identity", b"gzip", b"", b"chunked,", b",chunked", b'"chunked"', b"chunked;q=1", b"chun\x00ked", b"chunke"),
    ]
    streams = {}
    for value in values:
        line = b"Transfer-Encoding: " + value + b"\r\n"
        streams[f"encoding {value!r}"] = _post(line, CHUNKS)
        streams[f"encoding {value!r} and length"] = _post(line + LENGTH, CHUNKS)
        streams[f"length and encoding {value!r}"] = _post(b"Content-Length: 6\r\n" + line, CHUNKS)
    for name, head in {
        "twice": CHUNKED * 2,
        "no space": b"Transfer-Encoding:chunked\r\n",
        "space before": b"Transfer-Encoding : chunked\r\n",
        "underscore": b"Transfer_Encoding: chunked\r\n",
        "folded": b"Transfer-Encoding:\r\n chunked\r\n",
        "folded behind": b"X: y\r\n Transfer-Encoding: chunked\r\n",
        "two lines": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "bare cr": b"X: y\rTransfer-Encoding: chunked\r\n",
        "bare lf": b"X: y\nTransfer-Encoding: chunked\r\n",
    }.items():
        streams[f"encoding {name}"] = _post(head, CHUNKS)
    streams["encoding 1.0"] = _post(CHUNKED, CHUNKS, b"POST /first HTTP/1.0\r\n")
    return streams


def _chunks() -> dict[str, bytes]:
    size = b"%x" % len(HIDDEN)
    sizes = [
        *(size.upper(), b"0" + size, b"0" * 15 + size, b"0" * 40 + size, b"0x" + size, b"+" + size, b"-" + size),
        *(size + b" ", b" " + size, size + b"\t", size + b";a", size + b";a=b", size + b'; a="b;c"', size + b";", b""),
        *(size + b";a\nb", size + b" ;a", b"ffffffffffffffff", b"1" + b"0" * 16 + size, size + b"\r", size + b"g"),
        *(b"4294967337", size + b"\0", size + b";\0"),
    ]
    streams = {f"chunk {each!r}": _post(CHUNKED, each + b"\r\n" + HIDDEN + b"\r\n0\r\n\r\n") for each in sizes}
    good = size + b"\r\n" + HIDDEN
    for name, body in {
        "lf": size + b"\n" + HIDDEN + b"\n0\n\n",
        "lf behind data": good + b"\n0\r\n\r\n",
        "cr behind data": good + b"\r0\r\n\r\n",
        "none behind data": good + b"0\r\n\r\n",
        "two behind data": good + b"xx0\r\n\r\n",
        "long zero": good + b"\r\n000000\r\n\r\n",
        "zero extension": good + b"\r\n0;a=b\r\n\r\n",
        "trailer": good + b"\r\n0\r\nX-Trailer: 1\r\n\r\n",
        "trailer length": good + b"\r\n0\r\nContent-Length: 40\r\n\r\n",
        "trailer encoding": good + b"\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "trailer host": good + b"\r\n0\r\nHost: elsewhere\r\n\r\n",
        "trailer upgrade": good + b"\r\n0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "trailer no colon": good + b"\r\n0\r\nnonsense\r\n\r\n",
        "trailer space": good + b"\r\n0\r\nX : 1\r\n\r\n",
        "trailer folded": good + b"\r\n0\r\nX: 1\r\n 2\r\n\r\n",
        "trailer lf": good + b"\r\n0\r\nX: 1\n\r\n",
        "trailer is a request": good + b"\r\n0\r\n" + HIDDEN,
        "broken off": size + b"\r\n" + HIDDEN[:5],
    }.items():
        streams[f"chunks {name}"] = _post(CHUNKED, body)
    return streams


def _headers() -> dict[str, bytes]:
    lines = [
        *(b"X: a\0b", b"X: a\rb", b"X: a\nb", b"X: a\x01b", b"X: a\x7fb", b"X: \xff", b"X: a\tb", b"X:", b": a", b"X"),
        *(b"X : a", b"X\t: a", b" X: a", b"\tX: a", b"X\0: a", b"X\x80: a", b"X(: a", b"X: a\r\n b", b"X: a\r\n\tb"),
        *(b"X: a\r", b"X: a\r\n\r", b"X@: a", b'"X": a', b"X/: a", b"\xef\xbb\xbfX: a", b"X: a\x0bb", b"X: a\x0cb"),
        *(
            b"Expect: 100-continue",
            b"Expect: nonsense",
            b"Connection: close",
            b"Connection: keep-alive",
            b"TE: trailers",
        ),
    ]
    return {f"header {line!r}": _post(line + b"\r\n" + LENGTH) for line in lines}


def _hosts() -> dict[str, bytes]:
    rest = b"Content-Length: 0\r\n\r\n" + NEXT
    heads = {
        "missing": b"",
        "missing 1.0": b"",
        "empty": b"Host:\r\n",
        "twice": HOST * 2,
        "twice 1.0": HOST * 2,
        "differing": HOST + b"Host: elsewhere\r\n",
        "with a space": b"Host: a b\r\n",
        "space before colon": b"Host : parlance\r\n",
    }
    return {
        f"host {name}": b"POST /first HTTP/1.%d\r\n" % (not name.endswith("1.0")) + head + rest
        for name, head in heads.items()
    }


def _request_lines() -> dict[str, bytes]:
    lines = [
        *(
            b"GET /first",
            b"GET /first HTTP/0.9",
            b"GET /first HTTP/1.2",
            b"GET /first HTTP/2.0",
            b"GET /first HTTP/3.0",
        ),
        *(
            b"GET /first HTTP/1",
            b"GET /first HTTP/1.10",
            b"GET /first HTTP/11.1",
            b"GET /first HTTP/ 1.1",
            b"GET /first ",
        ),
        *(b"GET /first http/1.1", b"GET /first HTTP/1.1 ", b"GET  /first HTTP/1.1", b"GET /first  HTTP/1.1"),
        *(b"GET\t/first HTTP/1.1", b"GET /first\tHTTP/1.1", b" GET /first HTTP/1.1", b"get /first HTTP/1.1"),
        *(
            b"Get /first HTTP/1.1",
            b"GET" * 2000 + b" /first HTTP/1.1",
            b"BREW /first HTTP/1.1",
            b"G\0T /first HTTP/1.1",
        ),
        *(b"GET /fi rst HTTP/1.1", b"GET /fi\0rst HTTP/1.1", b"GET /fi\rrst HTTP/1.1", b"GET /fi\x7frst HTTP/1.1"),
        *(
            b"GET /fi\xffrst HTTP/1.1",
            b"GET /first?a=b%20c&d HTTP/1.1",
            b"GET /first#hidden HTTP/1.1",
            b"GET first HTTP/1.1",
        ),
        *(
            b"GET http://parlance/first HTTP/1.1",
            b"GET http://elsewhere HTTP/1.1",
            b"GET //first HTTP/1.1",
            b"GET ? HTTP/1.1",
        ),
        *(b"GET /../first HTTP/1.1", b"GET /first%0d%0aX: HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET * HTTP/1.1", b"GET"),
        *(
            b"CONNECT parlance:443 HTTP/1.1",
            b"CONNECT /first HTTP/1.1",
            b"OPTIONS /first RTSP/1.0",
            b"SOURCE /first ICE/1.0",
        ),
        *(
            b"PRI * HTTP/2.0",
            b"TRACE /first HTTP/1.1",
            b"HEAD /first HTTP/1.1",
            b"PATCH /first HTTP/1.0",
            b"\x16\x03\x01",
        ),
    ]
    return {f"line {line[:60]!r}": line + b"\r\n" + HOST + LENGTH + b"\r\n" + HIDDEN + NEXT for line in lines}


def _streams() -> dict[str, bytes]:
    first = _post(LENGTH)
    return {
        "stream line breaks before": b"\r\n\r\n" + first,
        "stream bare line feeds before": b"\n\n" + first,
        "stream spaces before": b"  " + first,
        "stream line breaks between": first[: -len(NEXT)] + b"\r\n\r\n" + NEXT,
        "stream bare lf everywhere": first.replace(b"\r\n", b"\n"),
        "stream bare cr everywhere": first.replace(b"\r\n", b"\r"),
        "stream lf behind the head": first.replace(b"\r\n\r\n", b"\r\n\n", 1),
        "stream twenty": NEXT * 20,
        "stream http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NEXT,
        "stream garbage behind": NEXT + b"\0garbage\r\n\r\n" + NEXT,
        "stream garbage before": b"garbage\r\n\r\n" + NEXT,
        "stream behind close": _post(b"Connection: close\r\n" + LENGTH),
        "stream behind 1.0": _post(LENGTH, line=b"POST /first HTTP/1.0\r\n"),
        "stream broken off": _post(b"Content-Length: 100000\r\n"),
        "stream head broken off": NEXT[:-2],
    }


STREAMS = {
    name: stream
    for part in (
        *(_offers(), _lengths(), _transfer_encodings(), _chunks(), _headers(), _hosts(), _request_lines(), _streams()),
    )
    for name, stream in part.items()
}
