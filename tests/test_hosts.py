"""`make hosts`: its goals report what does not hold, its table keeps rows, and five scenarios meet their goals."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from faults.hosts import delay, goals, report, run
from faults.hosts.deployment import adapt_nginx
from faults.hosts.failovers import SCENARIOS
from faults.hosts.goals import CallRow, Evidence, Timing
from faults.hosts.network import ADDRESSES, HostsError, Network, remove_stale_runs, require_programs
from faults.hosts.records import CallSide, Record, Revocation
from faults.hosts.scenarios import copy_with_migration
from testing.polling import eventually, wait_until
from testing.ports import free_port
from testing.time_limits import limit

ROOT = Path(__file__).resolve().parent.parent
#: When the load began, the fault, the heal, and the end.
BEGAN, FAULT, HEAL, STOPPED, HUNG_UP = 0.0, 10.0, 20.0, 60.0, 65.0
LASTING, SHORT = "room-of-the-lasting-call", "room-of-a-short-call"


def make_side(room: str, user: str, partner: str, *, joined_at: float, ended_at: float, end: str) -> CallSide:
    numbers = [1, 2, 3]
    return CallSide(
        room,
        user,
        partner,
        is_lasting=room == LASTING,
        joined_at=joined_at,
        asked_at=joined_at - 0.1,
        acked=list(numbers),
        last_acked_at=ended_at - 6,
        received=list(numbers),
        last_received_at=ended_at - 6,
        end_sent_at=ended_at - 0.1 if end == "ended" else 0.0,
        ended_at=ended_at,
        end=end,
        is_connected=True,
    )


def make_evidence() -> Evidence:
    """A run in which all goals are met: a call that lasts, a short one after the heal, a ban, a registration."""
    record = Record(stopped_at=STOPPED)
    record.sides = [
        make_side(LASTING, "ada", "ben", joined_at=2, ended_at=HUNG_UP, end="ended"),
        make_side(LASTING, "ben", "ada", joined_at=2, ended_at=HUNG_UP, end="peer_left ended"),
        make_side(SHORT, "cleo", "dan", joined_at=22, ended_at=32, end="ended"),
        make_side(SHORT, "dan", "cleo", joined_at=22, ended_at=32, end="peer_left ended"),
    ]
    record.sides += [  # others, of whom each call lasts two seconds
        make_side(f"room-{at}", user, partner, joined_at=at, ended_at=at + 2, end=end)
        for at in range(26, 60, 5)
        for user, partner, end in (("eve", "fay", "ended"), ("fay", "eve", "peer_left ended"))
    ]
    record.tries = [(at, "write", "ok") for at in (5.0, 21.0, 22.0, 23.0, 40.0)]
    record.registered_at = {"new@example.com": 21.5}
    record.written = {"ada": 7}
    record.revocations = [Revocation("ban", 15.0, {"app1": 23.0, "app2": 15.5})]
    return Evidence(
        record,
        Timing(FAULT, HEAL, HEAL),
        rows={
            LASTING: CallRow(LASTING, frozenset(("ada", "ben")), True, 63),
            SHORT: CallRow(SHORT, frozenset(("cleo", "dan")), True, 10),
            **{f"room-{at}": CallRow(f"room-{at}", frozenset(("eve", "fay")), True, 2) for at in range(26, 60, 5)},
        },
        profiles={"ada": 7},
        mails={"new@example.com": 22.0},
    )


def unmet(evidence: Evidence) -> dict[str, list[str]]:
    return goals.unmet(evidence, calls_go_on=True, without_errors=True)


def test_goals_are_met_by_a_good_run() -> None:
    assert unmet(make_evidence()) == {}


def test_duration_counts_from_when_both_asked_to_join() -> None:
    """The answers of a host that was stopped come late, and the call had begun."""
    evidence = make_evidence()
    for side in evidence.record.sides[2:4]:
        side.joined_at = 31.5
    assert unmet(evidence) == {}


def fail_writes(evidence: Evidence) -> None:
    evidence.record.tries = [(at, what, "503") for at, what, _ in evidence.record.tries if at < 40] + [
        (at, "write", "ok") for at in (36.0, 37.0)
    ]


def lose_finds(evidence: Evidence) -> None:
    evidence.record.sides = evidence.record.sides[:4]


def relay_no_more(evidence: Evidence) -> None:
    for side in evidence.record.sides[:2]:
        side.last_acked_at = side.last_received_at = 39.0


def lose_signal(evidence: Evidence) -> None:
    evidence.record.sides[1].received.remove(2)


def silence_partner(evidence: Evidence) -> None:
    evidence.record.sides[1].received, evidence.record.sides[1].last_received_at = [1], 30.0


def swap_signals(evidence: Evidence) -> None:
    evidence.record.sides[1].received = [2, 1, 3]


def repeat_signal(evidence: Evidence) -> None:
    evidence.record.sides[1].received.append(3)


def end_call_early(evidence: Evidence) -> None:
    for side in evidence.record.sides[:2]:
        side.ended_at, side.end, side.last_received_at, side.last_acked_at = 30.0, "peer_left disconnected", 14.0, 14.0
    evidence.rows[LASTING] = CallRow(LASTING, frozenset(("ada", "ben")), True, 25)


def credit_too_much(evidence: Evidence) -> None:
    evidence.rows[SHORT] = CallRow(SHORT, frozenset(("cleo", "dan")), True, 682)


def credit_too_little(evidence: Evidence) -> None:
    evidence.rows[LASTING] = CallRow(LASTING, frozenset(("ada", "ben")), True, 12)


def leave_call_open(evidence: Evidence) -> None:
    evidence.rows[SHORT] = CallRow(SHORT, frozenset(("cleo", "dan")), True, None)


def record_other_users(evidence: Evidence) -> None:
    evidence.rows[SHORT] = CallRow(SHORT, frozenset(("cleo", "eve")), True, 10)


def lose_row(evidence: Evidence) -> None:
    del evidence.rows[SHORT]


def lose_minutes(evidence: Evidence) -> None:
    evidence.credits = [("ada", 0, 1)]


def lose_profile(evidence: Evidence) -> None:
    evidence.profiles = {"ada": 6}


def learn_of_ban_late(evidence: Evidence) -> None:
    evidence.record.revocations[0].refused["app1"] = 25.5


def ignore_ban(evidence: Evidence) -> None:
    del evidence.record.revocations[0].refused["app2"]


def lose_mail(evidence: Evidence) -> None:
    evidence.mails.clear()


def answer_503(evidence: Evidence) -> None:
    evidence.record.tries.append((50.0, "read", "503"))


def answer_500(evidence: Evidence) -> None:
    evidence.record.tries.append((50.0, "read", "500 without Retry-After"))


def fail_load(evidence: Evidence) -> None:
    evidence.record.failures.append("calls: KeyError")


@pytest.mark.parametrize(
    ("spoil", "goal"),
    [
        (fail_writes, "recovery"),
        (lose_finds, "recovery"),
        (relay_no_more, "relayed"),
        (lose_signal, "nothing_lost"),
        (lose_profile, "nothing_lost"),
        (silence_partner, "half_open"),
        (swap_signals, "in_order"),
        (repeat_signal, "in_order"),
        (end_call_early, "ended_early"),
        (credit_too_much, "call_rows"),
        (credit_too_little, "call_rows"),
        (leave_call_open, "call_rows"),
        (record_other_users, "call_rows"),
        (lose_row, "call_rows"),
        (lose_minutes, "call_rows"),
        (learn_of_ban_late, "bans_known"),
        (ignore_ban, "bans_known"),
        (lose_mail, "jobs_run"),
        (answer_503, "no_errors"),
        (answer_500, "outages_said"),
        (fail_load, "load_worked"),
    ],
)
def test_goal_that_is_not_met_is_named(spoil: Callable[[Evidence], None], goal: str) -> None:
    evidence = make_evidence()
    spoil(evidence)
    found = unmet(evidence)
    assert goal in found and found[goal][0]
    if goal not in ("recovery", "outages_said"):  # what these break breaks other goals, too
        assert found.keys() == {goal}


def test_last_signals_of_an_ended_call_may_be_missing() -> None:
    evidence = make_evidence()
    evidence.record.sides[2].received = [1, 2]
    assert unmet(evidence) == {}


def test_write_without_an_answer_may_come_late() -> None:
    evidence = make_evidence()
    lose_profile(evidence)
    evidence.record.unanswered = {"ada": [6]}
    assert unmet(evidence) == {}


def test_signal_sent_twice_may_arrive_twice() -> None:
    evidence = make_evidence()
    repeat_signal(evidence)
    evidence.record.sides[0].repeated = 1
    assert unmet(evidence) == {}


def test_record_survives_json() -> None:
    record = make_evidence().record
    assert Record.load(json.loads(json.dumps(asdict(record)))) == record


# --- Table and scenarios ----------------------------------------------------------------------------------------------


def test_table_replaces_rows_of_the_same_scenario(tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text("before\n\n<!-- written by `make hosts` -->\n<!-- end of `make hosts` -->\nafter\n")
    results = [report.Result(SCENARIOS[name], make_evidence(), {}) for name in ("host-loss", "nothing")]
    report.write(document, results, "a machine")
    worse = report.Result(SCENARIOS["nothing"], make_evidence(), {"recovery": ["writes are not back"]})
    report.write(document, [worse], "a machine")
    text = document.read_text()
    rows = re.findall(r"^\| (`[a-z-]+`) \| .* \| (\w+) \|$", text, re.M)
    assert rows == [("`nothing`", "recovery"), ("`host-loss`", "none")]
    assert text.startswith("before\n") and text.endswith("after\n")


def test_row_shows_what_was_seen() -> None:
    row = report.Result(SCENARIOS["nothing"], make_evidence(), {}).row()
    assert row == "| `nothing` | 1.0 | 2.0 | 2.0 | 0 | 0 | 0 | 0 | 3.0 | none | none |"


def test_document_names_every_scenario() -> None:
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]+) \|$", (ROOT / "docs" / "reliability.md").read_text(), re.M)
    assert listed == [(name, scenario.title) for name, scenario in SCENARIOS.items()]


def test_list_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    run.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)


def test_unknown_scenario_is_refused() -> None:
    with pytest.raises(SystemExit, match="there is no no-such"):
        run.main(["no-such"])


def test_missing_packages_are_named(tmp_path: Path) -> None:
    with pytest.raises(HostsError, match="apt-get install iproute2 nftables nginx"):
        require_programs(str(tmp_path))


def test_run_without_permission_fails_in_one_sentence() -> None:
    """In a user namespace nobody is root, so no network namespace can be made for the run."""
    command = ["unshare", "--user", sys.executable, "-m", "faults.hosts.run", "--no-document", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit(60))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("`make hosts` "), done.stderr


def test_nginx_has_both_hosts_and_the_deployed_options(tmp_path: Path) -> None:
    deployed = (ROOT / "deploy" / "nginx.conf").read_text()
    (options,) = re.findall(r"server api:5503([^;]*);", deployed)
    adapted = adapt_nginx(deployed, tmp_path)
    assert re.findall(r"server ([0-9.]+:5503)([^;]*);", adapted) == [
        ("10.80.0.31:5503", options),
        ("10.80.0.32:5503", options),
    ]


def test_next_release_has_one_more_migration(tmp_path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    head = ScriptDirectory.from_config(config).get_current_head()
    copy_with_migration(tmp_path, str(head))
    config.set_main_option("script_location", str(tmp_path / "alembic"))
    scripts = ScriptDirectory.from_config(config)
    (newest,) = scripts.get_heads()
    assert scripts.get_revision(newest).down_revision == head
    assert (tmp_path / "cli" / "serve.py").read_text() == (ROOT / "cli" / "serve.py").read_text()


async def test_delay_proxy_delays_each_way() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.close()

    port = free_port()
    target = await asyncio.start_server(answer, "127.0.0.2", port)
    command = [sys.executable, "-m", "faults.hosts.delay", "127.0.0.1", f"127.0.0.2:{port}"]
    process = subprocess.Popen(command, cwd=ROOT)
    try:

        async def ask() -> tuple[bytes, float]:
            """Return the answer through the proxy and the seconds that it took."""
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            began = time.monotonic()
            writer.write(b"hello")
            answer = await reader.read(100)
            taken = time.monotonic() - began
            writer.close()
            return answer, taken

        async def is_passed() -> bool:
            try:
                return (await ask())[0] == b"HELLO"
            except OSError:
                return False

        await eventually(is_passed, "the proxy passes bytes")
        process.send_signal(signal.SIGUSR1)

        async def is_delayed() -> bool:
            text, taken = await ask()
            return text == b"HELLO" and taken >= 2 * delay.MILLISECONDS / 1000

        await eventually(is_delayed, "the proxy delays bytes")
    finally:
        process.kill()
        process.wait()
        target.close()


# --- Namespaces -------------------------------------------------------------------------------------------------------


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    # Debian keeps `nft` where only root's PATH looks.
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
    require_programs(os.environ["PATH"])
    network = Network(tmp_path)
    try:
        network.build()
        yield network
    finally:
        network.remove()


def list_namespaces(run_id: str) -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"parlance-{run_id}-*")]


def is_reached(network: Network, address: str) -> bool:
    """Say whether the first app host reaches an address, at which nothing listens: it answers with a reset."""
    with network.inside("app1"), socket.socket() as client:
        client.settimeout(limit(0.5))
        try:
            client.connect((address, 9))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return True


@pytest.mark.system
def test_cut_drops_packets_until_it_is_healed(network: Network) -> None:
    store = ADDRESSES["store1"]
    wait_until(lambda: is_reached(network, store), "the store is reached", within=10)
    for way in ("in", "out"):
        network.cut("app1", ["store1"], ways=(way,))
        assert not is_reached(network, store)
        assert is_reached(network, ADDRESSES["store2"])
        network.heal()
        assert is_reached(network, store)
    network.cut("app1", ["store1"], port=9)
    assert not is_reached(network, store)


@pytest.mark.system
def test_names_and_addresses_move(network: Network) -> None:
    def look_up(name: str) -> str:
        return network.execute("app1", ["getent", "hosts", name], check=False).partition(" ")[0]

    network.point({"database.test": "10.80.0.11"})
    assert look_up("database.test") == "10.80.0.11"
    network.point({"database.test": "10.80.0.12", "cache.test": "10.80.0.11"})
    assert look_up("database.test") == "10.80.0.12" and look_up("cache.test") == "10.80.0.11"
    for host in ("store1", "store2"):
        network.move_address("10.80.0.20", host)
        wait_until(lambda: is_reached(network, "10.80.0.20"), f"the address is that of {host}", within=10)


@pytest.mark.system
def test_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from faults.hosts.network import Network;"
        "network = Network(Path(sys.argv[1])); network.build();"
        "network.spawn('app1', ['sleep', '1000'], Path(sys.argv[1]) / 'log'); print(network.id, flush=True);"
        "sys.stdin.read()"
    )
    directory = tmp_path / "parlance-hosts-of-a-test"
    directory.mkdir()
    command = [sys.executable, "-c", program, str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        remove_stale_runs()
        assert list_namespaces(run_id), "a run that lives was removed"
        process.kill()
    remove_stale_runs()
    assert list_namespaces(run_id) == [] and not directory.exists()


@pytest.mark.system
def test_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "faults.hosts.run", "--no-document", "nothing"]
    with (tmp_path / "log").open("w") as log:
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def find_ids() -> list[str]:
        """Return the id of the run whose directory is below that of the test, once it has hosts."""
        assert process.poll() is None, (tmp_path / "log").read_text()
        locks = Path("/run/parlance-hosts").glob("*.lock")
        return [lock.stem for lock in locks if str(tmp_path) in lock.read_text() and list_namespaces(lock.stem)]

    wait_until(find_ids, "the run makes its hosts", within=60)
    (run_id,) = find_ids()
    process.send_signal(signal.SIGINT)
    process.wait(limit(30))
    assert list_namespaces(run_id) == []


# --- Scenarios that CI plays ------------------------------------------------------------------------------------------


@pytest.mark.system
@pytest.mark.parametrize(
    "scenario", ["server-stopped", "host-loss", "valkey-switch", "postgresql-silent-death", "rolling-deploy"]
)
def test_scenario_meets_all_goals(scenario: str) -> None:
    command = [sys.executable, "-m", "faults.hosts.run", "--no-document", scenario]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit(240))
    assert done.returncode == 0, done.stdout + done.stderr
