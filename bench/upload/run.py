"""Memory of the server during an upload of a gigabyte: `python -m bench.upload.run` writes results/upload.md.

One server process and an embedded S3, all on this machine. The video is sent in one request, then by tus in chunks; the
server's resident memory is read fifty times a second and compared with what it has after a small upload. Needs Linux.
"""

from __future__ import annotations

import asyncio
import platform
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx

from adapters.keys import KeyFiles
from bench import figures
from cli.migrations import upgrade_to_head
from container import Container
from devtools.embedded import EmbeddedServices
from testing.accounts import make_admin
from testing.containers import load_settings
from testing.lessons import new_course, new_lesson
from testing.servers import Server, start_server, stop_server

RESULTS = Path(__file__).resolve().parent.parent / "results" / "upload.md"
MEBIBYTE = 1024 * 1024
SIZE = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
CHUNK = 64
HEAD = b"\0\0\0\x14ftypisom\0\0\0\0isom".ljust(MEBIBYTE, b"\0")
BLOCK = bytes(MEBIBYTE)


class Sample(NamedTuple):
    how: str
    seconds: float
    before: float
    most: float


def memory(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


async def blocks(count: int, *, first: bool = True) -> AsyncIterator[bytes]:
    for index in range(count):
        yield HEAD if first and index == 0 else BLOCK


async def put(http: httpx.AsyncClient, lesson: str, size: int) -> None:
    headers = {"Content-Type": "video/mp4", "Content-Length": str(size * MEBIBYTE)}
    sent = await http.put(f"/lessons/{lesson}/video", content=blocks(size), headers=headers)
    assert sent.status_code == 202, sent.text


async def resumable(http: httpx.AsyncClient, lesson: str, size: int) -> None:
    tus = {"Tus-Resumable": "1.0.0"}
    made = await http.post(f"/lessons/{lesson}/video/uploads", headers={**tus, "Upload-Length": str(size * MEBIBYTE)})
    for start in range(0, size, CHUNK):
        length = min(CHUNK, size - start)
        headers = {
            **tus,
            "Upload-Offset": str(start * MEBIBYTE),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(length * MEBIBYTE),
        }
        sent = await http.patch(made.headers["location"], content=blocks(length, first=start == 0), headers=headers)
        assert sent.status_code == 204, sent.text


async def measure(environment: dict[str, str], server: Server) -> list[Sample]:
    container = Container(load_settings(environment))
    samples = []
    async with httpx.AsyncClient(base_url=server.url, timeout=300, trust_env=False) as http:
        async with container.jobs.app.open_async():
            await make_admin(container, http)
        lesson = await new_lesson(http, await new_course(http))
        for how, send in (("one request", put), (f"tus, chunks of {CHUNK} MiB", resumable)):
            await send(http, lesson, 32)
            before = most = memory(server)
            began = time.perf_counter()
            sending = asyncio.create_task(send(http, lesson, SIZE))
            while not sending.done():
                most = max(most, memory(server))
                await asyncio.sleep(0.02)
            await sending
            samples.append(Sample(how, time.perf_counter() - began, before, most))
    await container.close()
    return samples


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="parlance-bench-") as name:
        directory = Path(name)
        with EmbeddedServices(directory / "services", durable=False) as services:
            environment = {
                **services,
                "APP_ENV": "test",
                "BCRYPT_ROUNDS": "4",
                "JWT_PRIVATE_KEY_PATH": str(directory / "private.pem"),
                "JWT_PUBLIC_KEY_PATH": str(directory / "public.pem"),
            }
            settings = load_settings(environment)
            KeyFiles(settings).generate()
            upgrade_to_head(settings)
            server = start_server(environment, directory / "server.log", workers=1)
            try:
                samples = asyncio.run(measure(environment, server))
            finally:
                stop_server(server)
    table = [
        f"| {how} | {SIZE / seconds:.0f} | {before:.0f} | {most:.0f} | {most - before:+.0f} |"
        for how, seconds, before, most in samples
    ]
    text = "\n".join(
        [
            "# Uploading a large video",
            "",
            f"A video of {SIZE} MiB, by `python -m bench.upload.run`: one server process and SeaweedFS on this machine",
            f"(Python {platform.python_version()}, {platform.machine()}). Memory is the server's resident set, in MiB.",
            "",
            "| how | MiB/s | memory before | at most | difference |",
            "| --- | --- | --- | --- | --- |",
            *table,
            "",
        ]
    )
    RESULTS.write_text(text)
    most = max(sample.most - sample.before for sample in samples)
    figures.write("upload", [figures.Figure(f"server's memory more for a video of {SIZE} MiB", "MiB", most)])
    print(text)


if __name__ == "__main__":
    main()
