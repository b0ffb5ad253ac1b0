"""Documents that learners accept or read: terms, rules of conduct, privacy, and the texts of the public pages.

Each is a Markdown file of `web/policies`; a file of the same name in POLICY_DIRECTORY replaces it. The version is in
the file's first line, so that a text and its version are replaced together: `<!-- version: 2026-12-01 -->`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

from errors import Refused

#: The texts that ship.
FOLDER = Path(__file__).parent.parent.parent / "web" / "policies"
#: Documents whose version a learner accepts, in the order in which they are shown.
ACCEPTED: tuple[Literal["terms"], Literal["rules"], Literal["privacy"]] = ("terms", "rules", "privacy")
#: Texts of pages that nobody accepts.
OTHERS = ("child-safety", "contact", "delete-account")

_VERSION = re.compile(r"\A\ufeff?<!-- version: ([0-9A-Za-z][0-9A-Za-z._-]{0,31}) -->\r?\n")
_TITLE = re.compile(r"^# (.+?)\s*$", re.M)


class PolicyError(Refused):
    """A document cannot be read; the message says which and why."""


class Policy(NamedTuple):
    """A document; `text` is Markdown, with its title and without the line of the version."""

    name: str
    version: str
    title: str
    text: str
    #: Whether it is the text that ships, which the operator has not replaced.
    is_default: bool


def load_policy(name: str, directory: Path | None = None) -> Policy:
    """Read a document, from `directory` if it is there; raise PolicyError."""
    own = directory / f"{name}.md" if directory else None
    path = FOLDER / f"{name}.md"
    try:
        path = own if own is not None and own.exists() else path
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{own or path} cannot be read: {error}") from None
    version = _VERSION.match(source)
    if version is None:
        raise PolicyError(
            f"{path} has no version; its first line should be <!-- version: 2026-12-01 -->, with at most 32 letters,"
            " digits, dots and hyphens"
        )
    text = source[version.end() :]
    title = _TITLE.search(text)
    if title is None:
        raise PolicyError(f"{path} has no title; it should begin with a line such as # Terms of use")
    return Policy(name, version[1], title[1], text, path != own)


def load_policies(directory: Path | None = None) -> dict[str, Policy]:
    """Read the documents that learners accept, by name; raise PolicyError."""
    return _load(ACCEPTED, directory)


def load_all(directory: Path | None = None) -> dict[str, Policy]:
    """Read all documents, by name; raise PolicyError."""
    return _load((*ACCEPTED, *OTHERS), directory)


def find_unknown_files(directory: Path) -> list[str]:
    """List the Markdown files of a folder that replace no document, such as one whose name is misspelled."""
    known = {f"{name}.md" for name in (*ACCEPTED, *OTHERS)}
    return sorted(path.name for path in directory.glob("*.md") if path.name not in known)


def _load(names: tuple[str, ...], directory: Path | None) -> dict[str, Policy]:
    if directory is not None and not directory.is_dir():
        raise PolicyError(f"POLICY_DIRECTORY {directory} is not a folder")
    return {name: load_policy(name, directory) for name in names}
