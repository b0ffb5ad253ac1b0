"""Failovers of Valkey and PostgreSQL, and clocks that differ: one function each, called under load."""

from __future__ import annotations

import signal
import time

from faults.hosts.deployment import HostsDeployment, Options
from faults.hosts.network import ADDRESSES
from faults.hosts.scenarios import NETWORK_SCENARIOS, Play, make_scenario
from faults.hosts.stores import (
    CACHE_ADDRESS,
    CACHE_PORT,
    DATABASE_ADDRESS,
    DATABASE_PORT,
    SENTINEL_PORT,
    other_store,
)


def _silence(deployment: HostsDeployment, host: str, port: int) -> None:
    """Let a store answer nobody, not even with a reset."""
    deployment.network.cut(host, [each for each in ADDRESSES if each != host], port)


# --- Valkey -----------------------------------------------------------------------------------------------------------


def valkey_silent_death(play: Play) -> None:
    """Valkey's primary dies silently; 3 s later its replica is promoted and the name leads to it"""
    deployment = play.deployment
    old = deployment.valkeys.primary
    _silence(deployment, old, CACHE_PORT)
    deployment.valkeys.kill(old)
    play.begin(f"Valkey of {old} is gone")
    time.sleep(3)
    deployment.valkeys.promote()
    deployment.point_to_primaries()
    play.heal("the name leads to the promoted replica")


def valkey_switch(play: Play) -> None:
    """A planned switch of Valkey: the old primary lives on as a replica, and the name leads to the new one"""
    deployment = play.deployment
    old = deployment.valkeys.primary
    play.begin("the switch begins")
    deployment.valkeys.promote()
    deployment.valkeys.demote(old)
    deployment.point_to_primaries()
    play.heal("switched")


def valkey_sentinel(play: Play) -> None:
    """Valkey's primary and the Sentinel beside it die silently; the other two Sentinels promote its replica"""
    deployment = play.deployment
    old = deployment.valkeys.primary
    for port in (CACHE_PORT, SENTINEL_PORT):
        _silence(deployment, old, port)
    deployment.valkeys.kill(old)
    play.begin(f"Valkey of {old} is gone")
    deployment.valkeys.wait_for_sentinels()
    play.heal("the Sentinels have promoted the replica")


def valkey_lost_writes(play: Play) -> None:
    """Valkey's replication stands still for 4 s, then its primary is killed and the replica, 4 s behind, promoted"""
    deployment = play.deployment
    old = deployment.valkeys.primary
    deployment.network.cut(old, [other_store(old)], CACHE_PORT)
    play.mark("replication stands still")
    time.sleep(4)
    deployment.valkeys.kill(old)
    play.begin(f"Valkey of {old} is killed")
    _promote_valkey(play)


def valkey_clock_behind(play: Play) -> None:
    """Valkey's primary is killed, and the clock of the replica that is promoted is 20 s behind"""
    old = play.deployment.valkeys.primary
    play.deployment.valkeys.kill(old)
    play.begin(f"Valkey of {old} is killed")
    _promote_valkey(play)


def _promote_valkey(play: Play) -> None:
    """Promote the replica and give it the address."""
    deployment = play.deployment
    deployment.network.heal()
    deployment.valkeys.promote()
    deployment.network.move_address(CACHE_ADDRESS, deployment.valkeys.primary)
    play.heal("the promoted replica has the address")


def app_clock_behind(play: Play) -> None:
    """The clock of one app host 20 s behind that of all others"""
    play.begin("the clocks differ from the start")
    time.sleep(15)
    play.heal()


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def postgresql_silent_death(play: Play) -> None:
    """PostgreSQL's primary dies silently; 5 s later its standby is promoted and the name leads to it"""
    _lose_primary(play)
    play.deployment.point_to_primaries()
    play.heal("the name leads to the promoted standby")


def postgresql_several_hosts(play: Play) -> None:
    """The same with both hosts in DB_HOST: no name and no address moves"""
    _lose_primary(play)
    play.heal("the standby is promoted")


def _lose_primary(play: Play) -> None:
    deployment = play.deployment
    old = deployment.postgres.primary
    _silence(deployment, old, DATABASE_PORT)
    deployment.postgres.stop(old, signal.SIGQUIT)
    play.begin(f"PostgreSQL of {old} is gone")
    time.sleep(5)
    deployment.postgres.promote()


def postgresql_stale_name(play: Play) -> None:
    """A planned switch of PostgreSQL: the name leads to the old primary, a standby by then, for 5 s more"""
    deployment = play.deployment
    old = deployment.postgres.primary
    play.begin("the switch begins")
    deployment.postgres.stop(old, signal.SIGINT)
    deployment.postgres.promote()
    deployment.postgres.start_as_standby(old)
    play.mark("the name leads to a standby")
    time.sleep(5)
    deployment.point_to_primaries()
    play.heal("the name leads to the primary")


def postgresql_early_address(play: Play) -> None:
    """PostgreSQL's primary crashes, and its address moves to the standby, which is promoted 8 s later only"""
    deployment = play.deployment
    old = deployment.postgres.primary
    deployment.postgres.stop(old, signal.SIGQUIT)
    play.begin(f"PostgreSQL of {old} has crashed")
    deployment.network.move_address(DATABASE_ADDRESS, other_store(old))
    play.mark("the address leads to a standby")
    time.sleep(8)
    deployment.postgres.promote()
    play.heal("the standby is promoted")


SCENARIOS = {
    each.name: each
    for each in (
        *NETWORK_SCENARIOS,
        make_scenario(valkey_silent_death),
        make_scenario(valkey_switch),
        make_scenario(valkey_sentinel, options=Options(cache="sentinel")),
        make_scenario(valkey_lost_writes, options=Options(cache="address"), after=40),
        make_scenario(valkey_clock_behind, options=Options(cache="address", behind=("replica",)), after=40),
        make_scenario(
            app_clock_behind, options=Options(behind=("app1",)), calls_go_on=True, without_errors=True, after=15
        ),
        make_scenario(postgresql_silent_death),
        make_scenario(postgresql_several_hosts, options=Options(database="hosts")),
        make_scenario(postgresql_stale_name),
        make_scenario(postgresql_early_address, options=Options(database="address")),
    )
}
