"""The documentation is complete and correct: commands, settings, links, files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from bench import performance
from cli.main import app
from settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
LOCK_FILES = [ROOT / "package-lock.json", ROOT / "clients" / "typescript" / "package-lock.json"]


def commands() -> list[str]:
    """Every command of the CLI, as one types it."""

    def below(command: Any, words: list[str]) -> list[str]:
        children = getattr(command, "commands", None)
        if children is None:
            return [" ".join(words)]
        return [each for name, child in children.items() for each in below(child, [*words, name])]

    return below(typer.main.get_command(app), [])


def test_env_example_has_exactly_the_settings() -> None:
    example = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)
    assert sorted(example) == sorted(name.upper() for name in Settings.model_fields)


def test_env_example_shows_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    defaults, example = Settings(_env_file=None), Settings(_env_file=ROOT / ".env.example")
    others = {name for name in Settings.model_fields if getattr(defaults, name) != getattr(example, name)}
    # Its first lines name these.
    assert others == {"db_host", "redis_host", "storage_endpoint", "turn_host", "email_from"}


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str) -> None:
    readme = (ROOT / "README.md").read_text()
    group, _, name = command.partition(" ")
    rows = [line for line in readme.splitlines() if line.startswith(f"| `parlance {group}")]
    assert any(f"`parlance {command}`" in row or f"`{name}`" in row for row in rows), command


def headings(document: Path) -> set[str]:
    """The anchors of a document, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(document: Path) -> list[tuple[str, str]]:
    """Return the file and the anchor of each link of a document to another, or to itself."""
    return re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", document.read_text())


def test_documents_have_links_and_anchors() -> None:
    found = [each for document in DOCUMENTS for each in links(document)]
    assert len(found) > 50 and any(anchor for _, anchor in found)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document_links_lead_to_a_file_or_heading(document: Path) -> None:
    for target, anchor in links(document):
        path = document.parent / target if target else document
        assert path.exists(), target
        assert not anchor or anchor in headings(path), f"{target}#{anchor}"


def named_files(document: Path) -> set[str]:
    """Return the files of the project that a document names, by path, in backticks; those of `dist/` are built."""
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|lua|md|mjs|json|yaml|yml))(?=[`:])", document.read_text())
    return {path for path in paths if not path.startswith("dist/")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_named_in_documents_exist(document: Path) -> None:
    assert sorted(path for path in named_files(document) if not (ROOT / path).exists()) == []


def test_each_walk_goes_from_the_contract_to_a_test() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("\n## Where to change what\n")[2].partition("\n## ")[0]
    walks = [re.findall(r"`([\w./-]+\.(?:py|lua|yaml))`", row) for row in re.findall(r"^\| .*$", section, re.M)[2:]]
    assert len(walks) == 5
    for first, *files, test in walks:
        assert first in ("openapi.yaml", "asyncapi.yaml") and test.startswith("tests/")
        assert [path for path in files if not (ROOT / path).exists()] == []


def test_decision_index_lists_each_page_once_with_its_title() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = [page for page in sorted(folder.glob("*.md")) if page.name != "README.md"]
    titles = [page.read_text().partition("\n")[0] for page in pages]
    rows = [
        f"| [{page.name[:4]}]({page.name}) | {title.split(' ', 2)[2]} |"
        for page, title in zip(pages, titles, strict=True)
    ]
    assert re.findall(r"^\| \[.*$", (folder / "README.md").read_text(), re.M) == rows
    numbers = [page.name[:4] for page in pages]
    assert len(numbers) == len(set(numbers)), "two pages share a number"
    assert [int(title.split(" ")[1].rstrip(".:")) for title in titles] == [int(number) for number in numbers]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_commands_and_settings_exist(document: Path) -> None:
    text = document.read_text()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"[`\n]make ([a-z]+(?:-[a-z]+)*)", text)) <= set(targets)
    known = {*commands(), *(command.partition(" ")[0] for command in commands())}
    for group, name in re.findall(r"[`\n]parlance ([a-z]+)((?: [a-z]+)?)(?=[ `\n])", text):
        assert group in known and (f"{group}{name}" in known or group in commands()), f"parlance {group}{name}"
    elsewhere = (ROOT / "docker-compose.yml").read_text() + (ROOT / ".env.example").read_text()
    if document.parent.name != "decisions" and document.name != "CONTRIBUTING.md":
        for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", text):
            assert name in elsewhere, name


def test_alerts_are_explained_and_metrics_exist() -> None:
    guide = (ROOT / "docs" / "operating.md").read_text()
    alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy" / "alerts.yml").read_text())
    assert alerts and [each for each in alerts if f"| `{each}` |" not in guide] == []
    metrics = (ROOT / "services" / "operations" / "metrics.py").read_text()
    names = re.findall(r"`(parlance_\w+)`", guide)
    assert names
    for name in names:
        assert f'"{name.removesuffix("_total")}"' in metrics, name


def test_performance_page_matches_the_results() -> None:
    results = performance.read()
    page = performance.PAGE.read_text()
    assert performance.written(page, results) == page, "`python -m bench.performance` writes it again"
    for name, image in performance.images(results).items():
        assert (performance.IMAGES / name).read_text() == image, name


def test_no_file_names_a_package_host() -> None:
    for path in [
        *ROOT.glob("requirements/*.txt"),
        *LOCK_FILES,
        ROOT / "pyproject.toml",
        ROOT / "Makefile",
    ]:
        assert not re.search(r"pypi\.org|pythonhosted|registry\.npmjs", path.read_text()), path.name


@pytest.mark.parametrize("lock", LOCK_FILES, ids=lambda lock: lock.parent.name)
def test_every_node_package_is_pinned_by_hash(lock: Path) -> None:
    packages = json.loads(lock.read_text())["packages"]
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []
