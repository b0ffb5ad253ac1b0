"""docs/licences.md is current, the bill of materials is valid, and a binding licence is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy import bill_of_materials
from deploy.bill_of_materials import Part
from parlance import __version__

ROOT = Path(__file__).parents[2]


def test_licences_page_lists_what_is_installed() -> None:
    bill_of_materials.main(["--check"])


def test_bill_of_materials_is_valid_and_complete() -> None:
    parts = [*bill_of_materials.from_pypi(), *bill_of_materials.from_npm()]
    assert {"connexion", "python-socketio", "socket.io-client", "@scalar/api-reference"} <= {
        part.name for part in parts
    }
    said = bill_of_materials.bill(parts)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(said) is None
    assert all(f"pkg:{part.kind}/{part.name.replace('@', '%40')}@{part.version}" in said for part in parts)


def test_bill_of_materials_names_version_and_hashes() -> None:
    parts = [*bill_of_materials.from_pypi(), *bill_of_materials.from_npm()]
    bill = json.loads(bill_of_materials.bill(parts))
    assert bill["metadata"]["component"]["version"] == __version__
    locked = (ROOT / "requirements" / "production.txt").read_text()
    assert len(bill["components"]) == len(parts)
    for component in bill["components"]:
        hashes = {each["alg"]: each["content"] for each in component.get("hashes", [])}
        if component["purl"].startswith("pkg:pypi/"):
            assert f"sha256:{hashes['SHA-256']}" in locked
        elif files := component.get("components"):
            for file in files:
                content = (ROOT / file["name"]).read_bytes()
                assert file["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
        else:
            assert len(hashes["SHA-512"]) == 128


@pytest.mark.parametrize(
    ("licence", "taken"),
    [
        ("MIT", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("GPL-3.0-only", False),
        ("MIT AND AGPL-3.0-or-later", False),
        ("unknown", False),
    ],
)
def test_copyleft_licence_is_refused(licence: str, taken: bool) -> None:
    assert Part("pypi", "any", "1", licence).is_taken is taken
