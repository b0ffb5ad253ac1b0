"""All benchmarks, one after another, and the page of their results: `python -m bench.run` takes 29 minutes.

With names (`make bench ARGS="rest day"`) only those are run. One that fails, or takes too long, keeps its last figures
and does not stop the others; the run then exits with 1.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench import performance

ROOT = Path(__file__).resolve().parent.parent
#: Seconds that one may take: half as much again as it takes on a quiet machine.
LIMITS = {
    "rest": 220,
    "sockets": 400,
    "matching": 150,
    "bus": 200,
    "webhooks": 220,
    "upload": 120,
    "counting": 60,
    "tracing": 300,
    "day": 600,
    "admin": 500,
    "pairing": 540,
}


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(name: str, limit: float) -> str:
    """Run one; answer what went wrong, or nothing."""
    log = ROOT / ".parlance" / f"bench-{name}.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", f"bench.{name}.run"],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            # Three rounds of sockets show as much as five, and leave time for the rest.
            env={**os.environ, "ROUNDS": os.environ.get("ROUNDS", "3")},
            start_new_session=True,
            # A shell lets what it runs in the background ignore SIGINT, which is what ends one that takes too long.
            preexec_fn=_heed_interrupts,
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # it stops what it has started
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
    if code == 0:
        return ""
    last = (log.read_text(errors="replace").strip().splitlines() or ["nothing was said"])[-1]
    return f"{f'took more than {limit:.0f} s' if code is None else f'exit {code}'}: {last} ({log.relative_to(ROOT)})"


def main() -> None:
    began, failed = time.monotonic(), []
    wanted = {name: limit for name, limit in LIMITS.items() if name in (sys.argv[1:] or LIMITS)}
    for number, (name, limit) in enumerate(wanted.items(), 1):
        print(f"{number} of {len(wanted)}: {name}, {limit} s at most", flush=True)
        started = time.monotonic()
        problem = _run(name, limit)
        print(f"  {problem or 'done'} after {time.monotonic() - started:.0f} s", flush=True)
        if problem:
            failed.append(name)
    performance.main()
    print(f"{time.monotonic() - began:.0f} s in all")
    if failed:
        sys.exit(f"failed, and reported with the figures of an earlier run: {', '.join(failed)}")


if __name__ == "__main__":
    main()
