"""Generator of docs/performance.md and its plots, from results/*.json: `python -m bench.performance`.

Text between two markers is generated from the figures; the rest of the page is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bench import figures, plots, sizing
from bench.day.report import LOAD, OTHERS, PRODUCT

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
BENCHES = ("rest", "sockets", "matching", "bus", "webhooks", "upload", "admin", "counting", "tracing", "day", "pairing")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _is_met(figure: dict[str, Any]) -> bool:
    ratio = figure["ours"] / figure["peer"]
    return bool(ratio <= figure["goal"] if figure["less_is_better"] else ratio >= figure["goal"])


def _table(results: dict[str, dict[str, Any]]) -> list[str]:
    rows = []
    for name, result in results.items():
        for each in result["figures"]:
            ratio = goal = ""
            if each["peer"]:
                ratio = f"{each['ours'] / each['peer']:.2f}"
            if each["goal"]:
                way = "at most" if each["less_is_better"] else "at least"
                goal = f"{way} {each['goal']:g}: {'met' if _is_met(each) else '**missed**'}"
            peer = f"{_number(each['peer'])}, {each['peer_name']}" if each["peer"] else ""
            ours = f"{_number(each['ours'])} {each['unit']}"
            rows.append([f"{each['operation']} ([{name}]({_report(name)}))", ours, peer, ratio, goal, result["date"]])
    return figures.table(["operation", "ours", "peer", "ours / peer", "goal", "measured"], rows)


def _report(name: str) -> str:
    return f"../bench/results/{name}.md"


def _ratios(results: dict[str, dict[str, Any]]) -> str:
    rows = []
    for result in results.values():
        for each in result["figures"]:
            if each["peer"]:
                turned = each["less_is_better"]
                ratio, goal = each["ours"] / each["peer"], each["goal"]
                # Above 1 is better, also for figures of which less is better.
                rows.append((_short(each), 1 / ratio if turned else ratio, 1 / goal if goal and turned else goal))
    return plots.ratios("Ratio to the peer on Node; above 1 is better", rows)


def _short(figure: dict[str, Any]) -> str:
    name, kind = figure["operation"].replace("`", ""), figure["peer_name"].partition(", ")[2]
    return f"{name}, to {kind}" if kind else name


def _day(day: dict[str, Any]) -> str:
    hours = day["hours"]
    lines = {
        f"search p{percent}": [each["waits"][""][at] for each in hours] for at, percent in ((1, 50), (2, 90), (3, 99))
    }
    title = "A day: calls a second, and how long searches took"
    return plots.day(title, [each["name"] for each in hours], [each["calls"] for each in hours], lines)


def _steps(day: dict[str, Any]) -> str:
    names = (*PRODUCT[:1], *PRODUCT[2:4], LOAD, OTHERS)
    parts = {name: [each["cores"][name] for each in day["steps"]] for name in names}
    columns = [f"{each['calls']:.1f}" for each in day["steps"]]
    return plots.stacks("Cores that were busy, by calls a second", "calls/s", columns, parts)


def _what_filled(day: dict[str, Any]) -> list[str]:
    last = day["steps"][-1]
    cores, busy = day["cores"], sum(last["cores"].values())
    single = {"one web process": last["busiest_worker"], "Valkey": last["cores"]["Valkey"]}
    name, share = max(single.items(), key=lambda each: each[1])
    noticed = ", ".join(last["noticed"]) or "nothing; the steps ended before a user would have noticed"
    if share > 0.9:
        full = f"The core of {name} was full ({share:.0%})."
    elif busy > 0.9 * cores:
        full = (
            f"No process filled a core of its own ({name} {share:.0%}): the machine was full, {busy:.1f} of its"
            f" {cores} cores, of which the server used {last['cores']['server']:.1f},"
            f" PostgreSQL {last['cores']['PostgreSQL']:.1f}, the load {last['cores'][LOAD]:.1f} and others"
            f" {last['cores'][OTHERS]:.1f}."
        )
    else:
        full = f"Neither a core ({name} {share:.0%}) nor the machine ({busy:.1f} of {cores} cores) was full."
    return [
        f"The test ended at {last['name']} times the busiest hour, {last['visits']:.1f} visits and {last['calls']:.1f}"
        f" calls a second, with {last['here']:,} learners connected. Limit reached: {noticed}. {full}"
    ]


def _happened(day: dict[str, Any]) -> list[str]:
    counts, memory = day["counts"], day["memory"]
    searches, drops = counts["searches"], counts.get("drops", 0)
    back = drops - counts.get("stayed away", 0)
    sizes = [f"{each['server']:.0f} MB" for each in memory]
    return [
        f"- {counts['visits']:,} visits, {searches:,} searches, {counts['calls']:,} calls;"
        f" {counts['matched'] / searches:.1%} of searches matched, {counts.get('expired', 0):,} expired,"
        f" {counts.get('cancelled', 0):,} cancelled.",
        f"- {drops:,} connections dropped in a call; {counts.get('resumed', 0):,} of the {back:,} who reconnected"
        " resumed their call.",
        f"- {day['errors']} errors in the server's log. The server's memory: {sizes[0]} before, {sizes[1]} after the"
        f" day, {sizes[2]} after all learners had left.",
        f"- The load used {day['learners']:.2f} of {day['cores']} cores, other processes {day['others']:.2f}.",
    ]


def _counting(result: dict[str, Any], rest: dict[str, Any] | None) -> list[str]:
    cost = result["request_on"] - result["request_off"]
    health = next((each["ours"] for each in rest["figures"]), None) if rest else None
    share = f", {cost * health / 1e6:.1%} of what `GET /health` takes" if health else ""
    return [f"Counting a request costs {cost:.2f} µs{share}; counting an event, {result['event']:.2f} µs."]


def read() -> dict[str, dict[str, Any]]:
    """Read the results of the benchmarks that have been run."""
    return {name: found for name in BENCHES if (found := figures.read(name))}


def images(results: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The plots, by the names of their files."""
    # The other rule of pairing is no peer.
    drawn = {"performance-ratios.svg": _ratios({name: each for name, each in results.items() if name != "pairing"})}
    if day := results.get("day"):
        drawn |= {"performance-day.svg": _day(day), "performance-steps.svg": _steps(day)}
    return drawn


def _blocks(results: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Return the generated text between the markers, by their name."""
    missing = [f"- `make bench-{name}` has not been run." for name in BENCHES if name not in results]
    made = {"table": [*_table(results), *(["", *missing] if missing else [])]}
    if "counting" in results:
        made["counting"] = _counting(results["counting"], results.get("rest"))
    if day := results.get("day"):
        needs = [[need.what, *(need.by_size[size] for size in sizing.SIZES)] for need in sizing.requirements(day)]
        full = ["", "ms of CPU a call", "calls/s of a full core", "when full, add"]
        made |= {
            "day": _happened(day),
            "full": _what_filled(day),
            "cost": figures.table(full, sizing.full_cores(day)),
            "assumed": sizing.assumed(),
            "machine": figures.table(
                ["cores", "calls started a second", "calls at once", "learners a day"], sizing.machine(day)
            ),
            "sizes": figures.table(["", *sizing.SIZES], needs),
        }
    return made


def written(page: str, results: dict[str, dict[str, Any]]) -> str:
    """Return the page with the generated text between its markers."""
    for name, lines in _blocks(results).items():
        place = re.search(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)", page, re.DOTALL)
        if place is None:
            raise SystemExit(f"{PAGE} has no markers for {name}")
        page = "\n".join([page[: place.start()] + place[1], *lines, "", place[2] + page[place.end() :]])
    return page


def main() -> None:
    results = read()
    for name, image in images(results).items():
        (IMAGES / name).write_text(image)
    PAGE.write_text(written(PAGE.read_text(), results))
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
