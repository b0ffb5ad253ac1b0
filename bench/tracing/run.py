"""Cost of tracing: `python -m bench.tracing.run` takes four minutes and writes results/tracing.md.

The relay of a candidate and `GET /users/me`, by servers that differ in tracing alone: off, on, and on with a tenth of
the traces sampled. Each round measures every server in turn; a server is compared with the one that is off of the same
round, and the median of these ratios counts. `--base DIR` adds a server of another checkout, such as the commit before.
The spans go to a collector on the other core. Needs Linux. All traffic stays on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench import beside, figures
from bench.beside import CORES, OTHER_CORE
from bench.rest import run as rest
from bench.sockets import run as sockets
from devtools.embedded import EmbeddedServices
from testing.telemetry_receivers import Collector, receiving

ROUNDS = int(os.environ.get("ROUNDS", "7"))
#: Long, because the spans of the calls that begin with the load are exported meanwhile.
RELAY_SECONDS = 8.0
OFF, ON, TENTH, BASE = "off", "on", "on, a tenth sampled", "base"
RELAY, ME = "candidate relayed", "`GET /users/me`"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, help="a checkout of another commit, with requirements that are here too")
    base: Path | None = parser.parse_args().base
    os.sched_setaffinity(0, {OTHER_CORE})
    #: Microseconds of the server's CPU, by what is measured and server, a value a round.
    taken: dict[tuple[str, str], list[float]] = {}
    collector = Collector()
    with ExitStack() as stack:
        stack.enter_context(receiving(collector))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parlance-bench-")))
        services = stack.enter_context(EmbeddedServices(directory / "services"))
        environment = beside.prepare(
            directory,
            services,
            SOCKET_EVENTS_PER_SECOND="1000000",
            SOCKET_EVENT_BURST="1000000",
            SOCKETS_PER_USER="1000000",
        )
        servers = _servers(environment, collector, base)
        for server in servers:
            stack.callback(beside.stop, beside.start(server, directory))
        tokens = beside.register(servers[0].port)
        for number in range(ROUNDS + 1):
            # In turn from either end, so that none is always the one after the same other.
            for server in servers if number % 2 else servers[::-1]:
                for what, cpu in (
                    (RELAY, sockets.measure(server, sockets.RELAY, tokens, 0, RELAY_SECONDS).cpu),
                    (ME, rest.measure(server, rest.ME, tokens, rest.SECONDS).cpu),
                ):
                    if number:  # the first warms up
                        taken.setdefault((what, server.title), []).append(cpu)
            print(f"round {number} of {ROUNDS}", file=sys.stderr, flush=True)
        spans = len(collector.spans)
    if not spans:
        raise SystemExit("the collector has received no span")
    report = _report(taken, [server.title for server in servers], spans)
    (figures.RESULTS / "tracing.md").write_text(report)
    shares = {what: (_ratio(taken, what, ON) - 1) * 100 for what in (RELAY, ME)}
    figures.write(
        "tracing", [figures.Figure(f"tracing, {what}", "% more CPU", share) for what, share in shares.items()]
    )
    print(report)


def _servers(environment: dict[str, str], collector: Collector, base: Path | None) -> list[sockets.Server]:
    command = [sys.executable, "-m", "bench.sockets.server", "parlance"]
    on = {**environment, **collector.environment, "OTEL_BSP_SCHEDULE_DELAY": "5000"}
    servers = [
        sockets.Server(OFF, command, environment),
        sockets.Server(ON, command, on),
        sockets.Server(TENTH, command, {**on, "OTEL_TRACES_SAMPLER_ARG": "0.1"}),
    ]
    return servers if base is None else [*servers, sockets.Server(BASE, command, environment, folder=base)]


def _ratio(taken: dict[tuple[str, str], list[float]], what: str, title: str) -> float:
    return statistics.median(each / off for each, off in zip(taken[what, title], taken[what, OFF], strict=True))


def _report(taken: dict[tuple[str, str], list[float]], titles: list[str], spans: int) -> str:
    rows = [
        [what, title, f"{statistics.median(taken[what, title]):.1f}", f"{_ratio(taken, what, title):.3f}"]
        for what in (RELAY, ME)
        for title in titles
    ]
    lines = [
        "# What tracing costs",
        "",
        f"`make bench-tracing`: {ROUNDS} rounds of all servers in turn, each on one core, and a collector of"
        f" OTLP on {'another' if len(CORES) > 1 else 'the same'}, which received {spans:,} spans. The ratio is the"
        f" median over the rounds. Python {platform.python_version()}, {len(CORES)} cores,"
        f" {time.strftime('%Y-%m-%d')}.",
        "",
        *figures.table(["", "tracing", "µs of CPU", "to off"], rows),
        "",
        "A relayed signal has no span: the span of its participant counts it. A request has one, and a line of the log"
        " with its ids.",
        "",
    ]
    if BASE in titles:
        lines += ["`base` is the commit before tracing, which shows what tracing costs that is off.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
