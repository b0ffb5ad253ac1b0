"""`python -m faults.hosts.run [--list] [--no-document] [--keep] [SCENARIO...]`: each fault under load, then its report.

Needs root and Debian's iproute2, nftables and nginx. All traffic stays in network namespaces of its own. Exit 1 where a
goal is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from email import message_from_bytes
from pathlib import Path
from typing import Any

import psycopg
import redis

from faults.deployment import ROOT
from faults.hosts import goals, report
from faults.hosts.deployment import ADMIN, ADMIN_PASSWORD, APP_PORT, HostsDeployment
from faults.hosts.failovers import SCENARIOS
from faults.hosts.goals import CallRow, Evidence, Timing
from faults.hosts.load import Configuration
from faults.hosts.network import ADDRESSES, APPS, CLIENT_ADDRESSES, require_programs
from faults.hosts.records import Record
from faults.hosts.scenarios import Play, Scenario
from faults.invariants import CALL_INVARIANTS, Rows, broken
from faults.run import DOCUMENT, machine
from testing.time_limits import SLOWNESS

#: Seconds of load before a fault; those in which all has to be settled after it; those that the load's end may take.
BEFORE_SECONDS, SETTLE_SECONDS, END_SECONDS = 5.0, 45.0, 120.0
_CREDITS = """
    SELECT p.user_id::text, p.total_practice_mins, coalesce(sum((c.duration_seconds + 30) / 60), 0)::int
    FROM profiles p LEFT JOIN call_sessions c ON p.user_id IN (c.user_a_id, c.user_b_id) AND c.connected_at IS NOT NULL
        AND c.ended_at IS NOT NULL
    GROUP BY 1, 2 HAVING p.total_practice_mins <> coalesce(sum((c.duration_seconds + 30) / 60), 0)"""
_CALLS = """
    SELECT room_id, user_a_id::text, user_b_id::text, connected_at IS NOT NULL, duration_seconds FROM call_sessions"""


@contextmanager
def load(deployment: HostsDeployment) -> Iterator[subprocess.Popen[str]]:
    """Run the load from its first call on, until the block ends."""
    configuration = Configuration(
        url=deployment.url,
        hosts={host: f"http://{ADDRESSES[host]}:{APP_PORT}" for host in APPS},
        addresses=CLIENT_ADDRESSES,
        admin=ADMIN,
        password=ADMIN_PASSWORD,
        output=str(deployment.directory / "record.json"),
    )
    path = deployment.directory / "load.json"
    path.write_text(json.dumps(asdict(configuration)))
    with (deployment.directory / "load.log").open("wb") as log:
        process = subprocess.Popen(
            [*deployment.network.prefix("clients"), sys.executable, "-m", "faults.hosts.load", str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "begun":
            raise SystemExit(f"the load did not begin:\n{(deployment.directory / 'load.log').read_text()[-2000:]}")
        yield process
    finally:
        process.kill()
        process.wait()


def end_load(process: subprocess.Popen[str], deployment: HostsDeployment) -> Record:
    process.communicate("end\n", timeout=END_SECONDS)
    if process.returncode:
        raise SystemExit(f"the load failed:\n{(deployment.directory / 'load.log').read_text()[-2000:]}")
    return Record.load(json.loads((deployment.directory / "record.json").read_text()))


def collect(deployment: HostsDeployment, record: Record, timing: Timing, database: psycopg.Connection[Any]) -> Evidence:
    """Read what the goals compare with the record."""
    evidence = Evidence(record, timing, slowness=SLOWNESS)
    for room, one, other, is_connected, seconds in database.execute(_CALLS.encode()):
        evidence.rows[room] = CallRow(room, frozenset((one, other)), is_connected, seconds)
    evidence.credits = database.execute(_CREDITS.encode()).fetchall()
    names = database.execute(
        "SELECT user_id::text, display_name FROM profiles WHERE user_id::text = ANY(%s)", [list(record.written)]
    )
    evidence.profiles = {user: int(name or -1) for user, name in names}
    for path in (deployment.directory / "mail").glob("*.eml"):
        evidence.mails[str(message_from_bytes(path.read_bytes())["To"])] = path.stat().st_mtime
    return evidence


def judge(deployment: HostsDeployment, scenario: Scenario, record: Record, timing: Timing) -> report.Result:
    """Check goals and invariants until all hold, or the time in which they have to is over."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        database, client = deployment.postgres.connect(), deployment.valkeys.connect()
        with database, client:
            evidence = collect(deployment, record, timing, database)
            unmet = goals.unmet(
                evidence, calls_go_on=scenario.calls_go_on, without_errors=scenario.without_errors
            ) | broken(Rows(database, client, record), CALL_INVARIANTS)
        if not unmet or time.monotonic() > deadline:
            return report.Result(scenario, evidence, unmet)
        time.sleep(1)


def play(scenario: Scenario, directory: Path) -> report.Result:
    """Build the deployment, run the load, do it, and look at what was lost."""
    with ExitStack() as stack:
        deployment = HostsDeployment(directory, stack, scenario.options)
        this = Play(deployment)
        with load(deployment) as process:
            time.sleep(BEFORE_SECONDS)
            scenario.play(this)
            time.sleep(scenario.after)
            record = end_load(process, deployment)
        deployment.network.heal()
        result = judge(deployment, scenario, record, this.timing)
        for at, what in this.marks:
            print(f"  {at - this.timing.began:6.1f} s  {what}", flush=True)
        return result


def attempt(scenario: Scenario, *, keep: bool) -> report.Result | None:
    """Play a scenario in a directory of its own; None, after saying why, where it is broken off."""
    directory = Path(tempfile.mkdtemp(prefix="parlance-hosts-"))
    try:
        return play(scenario, directory)
    except (SystemExit, psycopg.Error, redis.RedisError, subprocess.SubprocessError) as error:
        if isinstance(error, SystemExit) and not isinstance(error.code, str):  # this process is to end
            raise
        print(f"`{scenario.name}` is broken off: {error}", flush=True)
        return None
    finally:
        if keep:
            print(f"logs: {directory}", flush=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def choose(names: Sequence[str]) -> list[Scenario]:
    """Return the named scenarios, in the order of the table; all of them without names."""
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise SystemExit(f"there is no {', '.join(unknown)}; `make hosts ARGS=--list` lists the scenarios")
    return [scenario for name, scenario in SCENARIOS.items() if not names or name in names]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="make hosts", description="Faults of several hosts, under load.")
    parser.add_argument("scenarios", nargs="*")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--no-document", action="store_true", help="leave docs/reliability.md as it is")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    options = parser.parse_args(arguments)
    chosen = choose(options.scenarios)
    if options.list:
        for scenario in chosen:
            print(f"{scenario.name:28} {scenario.title}")
        return
    # Debian keeps daemons where only root's PATH looks.
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    require_programs(os.environ["PATH"])
    # Ended like by Ctrl-C, so that the namespaces are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results: list[report.Result] = []
    print(report.HEAD, flush=True)
    for scenario in chosen:
        if (result := attempt(scenario, keep=options.keep)) is None:
            continue
        results.append(result)
        print(result.row(), flush=True)
        for goal, sentences in result.unmet.items():
            print(f"  {goal}: {len(sentences)}: {'; '.join(sentences[:4])}", flush=True)
        if not options.no_document:
            report.write(DOCUMENT, results, machine())
    if len(results) < len(chosen) or any(result.unmet for result in results):
        raise SystemExit("a goal is not met")


if __name__ == "__main__":
    main(sys.argv[1:])
