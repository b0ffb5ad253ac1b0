"""CPU seconds and memory of processes with their children, read from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    parent: int
    name: str
    #: CPU seconds, with those of children that have ended.
    cpu: float


def everything() -> dict[int, Process]:
    """Every process of this machine, by its id."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = path.read_text().rpartition(")")
        except OSError:  # it has ended meanwhile
            continue
        fields = after.split()
        found[int(path.parent.name)] = Process(
            int(fields[1]), before.partition("(")[2], sum(int(each) for each in fields[11:15]) / _TICKS
        )
    return found


def tree(pid: int, processes: dict[int, Process]) -> list[int]:
    """A process and all below it."""
    children = defaultdict(list)
    for each, process in processes.items():
        children[process.parent].append(each)
    found = [pid]
    for each in found:
        found += children[each]
    return found


def children(pid: int, processes: dict[int, Process]) -> dict[str, int]:
    """The children of a process, by name."""
    return {process.name: each for each, process in processes.items() if process.parent == pid}


def cpu_seconds(pid: int, processes: dict[int, Process]) -> float:
    """CPU seconds of a process and all that it has started."""
    return sum(processes[each].cpu for each in tree(pid, processes) if each in processes)


def busy_seconds() -> float:
    """CPU seconds of the whole machine, by all processes."""
    fields = [int(each) for each in Path("/proc/stat").read_text().partition("\n")[0].split()[1:]]
    user, nice, system, _idle, _wait, interrupts, soft = fields[:7]
    return (user + nice + system + interrupts + soft) / _TICKS


def megabytes(pid: int, processes: dict[int, Process]) -> float:
    """Memory of a process and all below it; what several share is counted once, in parts."""
    total = 0
    for each in tree(pid, processes):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024
