"""Faults of hosts, of the network between them, and deployments: one function each, called under load."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from faults.deployment import ROOT
from faults.hosts.delay import MILLISECONDS
from faults.hosts.deployment import HostsDeployment, Options
from faults.hosts.goals import Timing
from faults.hosts.network import ADDRESSES, APPS, STORES
from faults.hosts.stores import CACHE_PORT, DATABASE_PORT


class Play:
    """One scenario as it is played: its deployment, and when what happened."""

    def __init__(self, deployment: HostsDeployment) -> None:
        self.deployment = deployment
        self.marks: list[tuple[float, str]] = []
        self._began = self._reachable = self._healed = 0.0

    def mark(self, what: str) -> None:
        self.marks.append((time.time(), what))

    def begin(self, what: str) -> None:
        """Note that the fault begins."""
        self._began = time.time()
        self.mark(what)

    def reachable(self, what: str) -> None:
        """Note that what the product needs is there from now on, by itself the moment of the heal."""
        self._reachable = time.time()
        self.mark(what)

    def heal(self, what: str = "healed") -> None:
        """Note that the fault has ended."""
        self._healed = time.time()
        self.mark(what)

    @property
    def timing(self) -> Timing:
        return Timing(self._began, self._reachable or self._healed, self._healed)


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    play: Callable[[Play], None]
    options: Options = field(default_factory=Options)
    #: Seconds of load after the heal.
    after: float = 25
    calls_go_on: bool = False
    without_errors: bool = False


def nothing(play: Play) -> None:
    """No fault: the load alone"""
    play.begin("the load alone")
    time.sleep(5)
    play.heal()


# --- Hosts ------------------------------------------------------------------------------------------------------------


def host_loss(play: Play) -> None:
    """One app host lost without a word (no packet leaves it), back after 25 s"""
    deployment = play.deployment
    deployment.network.unplug("app1")
    deployment.kill_app("app1")
    play.begin("app1 is gone")
    play.reachable("app2 goes on")
    time.sleep(25)
    deployment.network.plug("app1")
    deployment.start_app("app1")
    play.heal("app1 is back")


def host_killed(play: Play) -> None:
    """All processes of one app host killed with -9 (its connections are reset), started again after 15 s"""
    play.deployment.kill_app("app1")
    play.begin("app1 is killed")
    play.reachable("app2 goes on")
    time.sleep(15)
    play.deployment.start_app("app1")
    play.heal("app1 is back")


def server_stopped(play: Play) -> None:
    """The server of one app host stopped (SIGSTOP) for 9 s, then continued"""
    server = play.deployment.apps["app1"].server
    with _stopped(server.pid):
        play.begin("the server of app1 is stopped")
        time.sleep(9)
    play.heal("it goes on")


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# --- The network ------------------------------------------------------------------------------------------------------


def _cut(play: Play, others: Collection[str], port: int | None, seconds: float, ways: Collection[str]) -> None:
    network = play.deployment.network
    network.cut("app1", others, port, ways)
    play.begin("app1 is cut")
    time.sleep(seconds)
    network.heal()
    play.heal()


def _cuts() -> Iterator[Scenario]:
    everything = [host for host in ADDRESSES if host != "app1"]
    targets = {
        "everything": ("everything", everything, None),
        "valkey": ("Valkey", STORES, CACHE_PORT),
        "postgresql": ("PostgreSQL", STORES, DATABASE_PORT),
    }
    lengths = [(5, "both"), (15, "both"), (60, "both"), (15, "out"), (15, "in")]
    directions = {"both": ("out", "in"), "out": ("out",), "in": ("in",)}
    words = {"both": "", "out": ", only what it sends", "in": ", only what it receives"}
    for name, (title, others, port) in targets.items():
        for seconds, way in lengths:
            yield Scenario(
                f"{name}-cut-{seconds}" + ("" if way == "both" else f"-{way}"),
                f"One app host cut from {title} for {seconds} s{words[way]}",
                functools.partial(_cut, others=others, port=port, seconds=seconds, ways=directions[way]),
                after=40 if seconds == 60 else 25,
                # Who loses a host keeps the call, by the other one.
                calls_go_on=name == "everything",
            )


def packet_loss(play: Play) -> None:
    """5 % of all packets from and to the stores lost for 30 s"""
    network = play.deployment.network
    network.lose(STORES, percent=5)
    play.begin("packets are lost")
    time.sleep(30)
    network.heal()
    play.heal()


def slow_stores(play: Play) -> None:
    """Connections to the stores delayed by 150 ms each way for 30 s"""
    deployment, hosts = play.deployment, [*STORES, *APPS]
    if is_netem := deployment.network.delay(hosts, MILLISECONDS):
        play.begin("packets are delayed by netem")
    else:
        deployment.set_delay(True)
        play.begin("connections are delayed by proxies")
    time.sleep(30)
    if is_netem:
        deployment.network.undelay(hosts)
    else:
        deployment.set_delay(False)
    play.heal()


# --- Deployments ------------------------------------------------------------------------------------------------------


def _roll(play: Play, tree: Path = ROOT) -> None:
    """Replace the processes of one host after another, as docs/deploying.md says."""
    for host in APPS:
        play.deployment.stop_app(host)
        play.mark(f"{host} has stopped")
        play.deployment.start_app(host, tree=tree)
        play.mark(f"{host} is ready")
        time.sleep(4)


def rolling_deploy(play: Play) -> None:
    """A rolling deployment: both app hosts stopped with SIGTERM and started again, one after the other"""
    play.begin("the deployment begins")
    play.reachable("one host is always there")
    _roll(play)
    play.heal("deployed")


#: A migration of a later release, as an old release can work with: it adds.
NEXT_MIGRATION = '''"""Add a note to profiles."""

import sqlalchemy as sa

from alembic import op

revision = "f4017e57"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("profiles", sa.Column("note", sa.String(60), nullable=True))


def downgrade() -> None:
    op.drop_column("profiles", "note")
'''


def copy_with_migration(tree: Path, head: str) -> None:
    """Write a copy of the product with one more migration, which follows `head`."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (source := ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(source.read_bytes())
    (tree / "alembic" / "versions" / "29990101_0000_note.py").write_text(NEXT_MIGRATION.format(head=head))


def upgrade_and_back(play: Play) -> None:
    """A rolling deployment of a release with one more migration, then of the release before it on the new schema"""
    deployment = play.deployment
    with TemporaryDirectory(prefix="parlance-next-") as directory:
        tree = Path(directory)
        copy_with_migration(tree, deployment.postgres.execute("SELECT version_num FROM alembic_version")[0][0])
        play.begin("the upgrade begins")
        play.reachable("one host is always there")
        deployment.run_command("migrations", "upgrade", tree=tree)
        _roll(play, tree)
        play.mark("the new release serves")
        deployment.run_command("migrations", "upgrade")
        _roll(play)
        play.heal("the old release serves on the new schema")


def make_scenario(play: Callable[[Play], None], **options: object) -> Scenario:
    """Make a scenario of a function: its name and its title are the function's."""
    title = (play.__doc__ or "").strip()
    return replace(Scenario(play.__name__.replace("_", "-"), title, play), **options)  # type: ignore[arg-type]


NETWORK_SCENARIOS = (
    make_scenario(nothing, calls_go_on=True, without_errors=True, after=15),
    make_scenario(host_loss, calls_go_on=True, after=15),
    make_scenario(host_killed, calls_go_on=True, after=15),
    make_scenario(server_stopped, calls_go_on=True),
    *_cuts(),
    make_scenario(packet_loss, calls_go_on=True),
    make_scenario(slow_stores, calls_go_on=True, options=Options(is_delayed=True)),
    make_scenario(rolling_deploy, calls_go_on=True, without_errors=True, after=10),
    make_scenario(upgrade_and_back, calls_go_on=True, without_errors=True, after=10),
)
