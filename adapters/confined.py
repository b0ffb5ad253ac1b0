"""Python modules run in a separate process with limits of memory and time, for untrusted files.

Such a module ends with `sys.exit(confined.main(work))`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable

import parlance

#: Exit status of a process that refuses its input, as opposed to one that failed.
REFUSED = 3


class Refusal(Exception):
    """The input is not acceptable; the message is for users."""


class Unfinished(Exception):
    """The process ended without a result: out of memory, out of time, or crashed."""


async def run(module: str, *arguments: str, data: bytes = b"", seconds: float) -> bytes:
    """Run a module with `data` on its standard input; return its standard output. Raise Refusal or Unfinished."""
    # Imported here: the process itself imports this module, and should start quickly.
    from adapters.child_processes import die_with_parent

    process = await asyncio.create_subprocess_exec(
        *parlance.python_command(module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(data)
    except TimeoutError:
        raise Unfinished(f"no result after {seconds} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == REFUSED:
        raise Refusal(output.decode(errors="replace"))
    if process.returncode != 0:
        raise Unfinished(f"exit status {process.returncode}")
    return output


def main(work: Callable[[], bytes], *, memory_bytes: int, cpu_seconds: int) -> int:
    """Limit this process, do the work and write its result to standard output; return the exit status."""
    _limit(memory_bytes, cpu_seconds)
    try:
        result, status = work(), 0
    except Refusal as refusal:
        result, status = str(refusal).encode(), REFUSED
    sys.stdout.buffer.write(result)
    sys.stdout.buffer.flush()
    return status


def _limit(memory_bytes: int, cpu_seconds: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
