"""Runs of the command line in separate processes."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from testing.time_limits import limit

_ROOT = Path(__file__).resolve().parent.parent


@dataclass
class CommandResult:
    """A command of the command line that has ended."""

    code: int
    out: str
    err: str


async def run_parlance(environment: dict[str, str], *arguments: str, stdin: str = "") -> CommandResult:
    """Run `parlance ...` in a process of its own; its standard input is a pipe."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_ROOT,
        env={**os.environ, **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), limit(30))
    assert process.returncode is not None
    return CommandResult(process.returncode, out.decode(), err.decode())
