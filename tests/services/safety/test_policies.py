"""Documents that learners accept: those that ship, and those of an operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.safety.policies import ACCEPTED, PolicyError, load_policies

TEXT = "<!-- version: 2027-01-02 -->\n# Our terms\n\nBe kind.\n"


def test_policies_that_ship_have_versions_and_titles() -> None:
    found = load_policies()
    assert tuple(found) == ACCEPTED
    assert all(each.is_default and each.version and each.title in each.text for each in found.values())


def test_policy_of_the_operator_replaces_one_that_ships(tmp_path: Path) -> None:
    (tmp_path / "terms.md").write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    found = load_policies(tmp_path)
    assert (found["terms"].version, found["terms"].title, found["terms"].is_default) == (
        "2027-01-02",
        "Our terms",
        False,
    )
    assert found["terms"].text.startswith("# Our terms") and found["rules"].is_default


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# Our terms\n", "has no version; its first line should be"),
        (b"<!-- version: -->\n# Our terms\n", "has no version"),
        (b"<!-- version: 1 -->\nOur terms\n", "has no title"),
        (b"<!-- version: 1 -->\n# \xff\n", "cannot be read"),
    ],
)
def test_policy_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "terms.md").write_bytes(content)
    with pytest.raises(PolicyError, match=message) as refused:
        load_policies(tmp_path)
    assert str(tmp_path / "terms.md") in str(refused.value)


def test_missing_policy_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="is not a folder"):
        load_policies(tmp_path / "absent")
