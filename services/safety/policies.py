"""Documents that learners accept or read: terms, rules of conduct, privacy.

Each is a Markdown file of `web/policies`; a file of the same name in POLICY_DIRECTORY replaces it. The version is in
the file's first line, so that a text and its version are replaced together: `<!-- version: 2026-12-01 -->`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from errors import Refused

#: The texts that ship.
FOLDER = Path(__file__).parent.parent.parent / "web" / "policies"
#: Documents whose version a learner accepts, in the order in which they are shown.
ACCEPTED = ("terms", "rules", "privacy")

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
    path = own if own is not None and own.exists() else FOLDER / f"{name}.md"
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path} cannot be read: {error}") from None
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
    if directory is not None and not directory.is_dir():
        raise PolicyError(f"POLICY_DIRECTORY {directory} is not a folder")
    return {name: load_policy(name, directory) for name in ACCEPTED}
