"""Bill of materials of the product: a CycloneDX file, and the licences in docs/licences.md.

Run as `python deploy/bill_of_materials.py FILE` in the environment of `make env`, which has the same versions as the
image; with `--check` it reports whether docs/licences.md is up to date. A licence that could bind users of the product
ends it with exit code 1.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from cyclonedx.contrib.hash.factories import HashTypeFactory
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

from parlance import __version__

ROOT = Path(__file__).resolve().parent.parent
LICENCES = ROOT / "docs" / "licences.md"
#: What packages call the licences that SPDX names otherwise.
_SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The MIT License (MIT)": "MIT",
}
#: Alone or in an expression of these. LGPL and MPL bind who changes the library, which is installed as it comes.
_TAKEN = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "HPND", "ISC", "LGPL-3.0-only", "LGPL-3.0-or-later"}
_TAKEN |= {"MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib"}
_PAGE = """\
# What it is made of

Parlance is under the [MIT License](../LICENSE). `make sbom` writes this page, and the same as a CycloneDX bill of
materials (`dist/parlance.cdx.json`): what `requirements/production.txt` installs, by hash, and what is in the bundles
that browsers load. A test holds the page to the lock files, and refuses licences that would bind those who run or
change Parlance. Libraries under LGPL and MPL are installed as they come; change one of these, and the change is under
its licence.

| package | from | version | licence |
| --- | --- | --- | --- |"""


class Part(NamedTuple):
    """One package of PyPI or npm."""

    kind: str
    name: str
    version: str
    licence: str
    #: Such as `sha256:1f…`: of each file by which the lock file accepts this version. One of them is installed.
    hashes: tuple[str, ...] = ()
    #: Path and hash of each file that is copied into the repository.
    files: tuple[tuple[str, str], ...] = ()

    @property
    def is_taken(self) -> bool:
        return set(re.split(r" (?:AND|OR) |[()]", self.licence)) - {""} <= _TAKEN


def from_pypi() -> list[Part]:
    """What requirements/production.txt installs on this platform."""
    parts = []
    for entry in re.split(r"\n(?=\S)", (ROOT / "requirements" / "production.txt").read_text()):
        wanted = Requirement(re.split(r"\s*\\?\n", entry.strip())[0])
        if wanted.marker is None or wanted.marker.evaluate():
            about = metadata.distribution(wanted.name)
            assert wanted.specifier.contains(about.version), f"{wanted.name} is installed as {about.version}"
            hashes = re.findall(r"--hash=(sha256:[0-9a-f]{64})", entry)
            parts.append(Part("pypi", wanted.name, about.version, _licence(about.metadata), tuple(hashes)))
    return parts


def _licence(about: metadata.PackageMetadata) -> str:
    classifiers = [each.rpartition(" :: ")[2] for each in about.get_all("Classifier", []) if "License ::" in each]
    said = about.get("License-Expression") or about.get("License") or ""
    if not said or "\n" in said or len(said) > 60:  # the whole text, where its name belongs
        said = " AND ".join(_SPDX.get(each, each) for each in classifiers)
    return _SPDX.get(said, said) or "unknown"


def from_npm() -> list[Part]:
    """What is in the bundles that browsers load: of our pages, and of `web/vendor`."""
    lock: dict[str, Any] = {}
    for path in (ROOT / "package-lock.json", ROOT / "clients" / "typescript" / "package-lock.json"):
        lock |= json.loads(path.read_text())["packages"]
    lists = sorted((ROOT / "web").glob("*/*.LICENSES.txt"))
    bundled = {found for each in lists for found in re.findall(r"(?:\A|-{80}\n\n)(\S+) (\S+)\n", each.read_text())}
    parts = []
    for name, version in sorted(bundled):
        held = lock[f"node_modules/{name}"]
        assert held["version"] == version, name
        parts.append(Part("npm", name, version, held["license"], _hashes_of_npm(held["integrity"])))
    for readme in sorted((ROOT / "web" / "vendor").glob("*/README.md")):
        found = re.search(r"npm package `(\S+)`, version \*\*(\S+)\*\*, under the\s+(.+?) \(", readme.read_text(), re.S)
        assert found, f"{readme} says no package, version and licence"
        table = re.findall(r"^\| `(\S+)` \| .* \| `([0-9a-f]{64})` \|$", readme.read_text(), re.M)
        files = tuple((str((readme.parent / name).relative_to(ROOT)), f"sha256:{digest}") for name, digest in table)
        parts.append(Part("npm", found[1], found[2], _SPDX.get(found[3], found[3]), files=files))
    return parts


def _hashes_of_npm(integrity: str) -> tuple[str, ...]:
    """Return the hashes of a lock file of npm, which are in base64, in hexadecimal digits."""
    parts = (each.partition("-") for each in integrity.split())
    return tuple(f"{algorithm}:{base64.b64decode(digest).hex()}" for algorithm, _, digest in parts)


def bill(parts: list[Part]) -> str:
    """Say it as CycloneDX 1.6 in JSON."""
    bom, licence, make_hash = Bom(), LicenseFactory(), HashTypeFactory().from_composite_str
    product = Component(
        name="parlance",
        version=__version__,
        type=ComponentType.APPLICATION,
        licenses=[licence.make_from_string("MIT")],
    )
    bom.metadata.component = product
    for part in parts:
        group, _, name = part.name.rpartition("/")
        component = Component(
            name=name,
            group=group or None,
            version=part.version,
            type=ComponentType.LIBRARY,
            purl=PackageURL(part.kind, group or None, name, part.version),
            licenses=[licence.make_from_string(part.licence)],
            hashes=map(make_hash, part.hashes),
            components=[
                Component(name=path, type=ComponentType.FILE, hashes=[make_hash(digest)]) for path, digest in part.files
            ],
        )
        bom.components.add(component)
        bom.register_dependency(product, [component])
    return JsonV1Dot6(bom).output_as_string(indent=2)


def listed(parts: list[Part]) -> str:
    """Say it as the page docs/licences.md."""
    rows = [f"| {part.name} | {part.kind} | {part.version} | {part.licence} |" for part in parts]
    return "\n".join([_PAGE, *rows, ""])


def main(arguments: list[str]) -> None:
    parts = [*from_pypi(), *from_npm()]
    if refused := [f"{part.name} ({part.licence})" for part in parts if not part.is_taken]:
        sys.exit(f"licences to be looked at, see _TAKEN in deploy/bill_of_materials.py: {', '.join(refused)}")
    if "--check" in arguments:
        if LICENCES.read_text() != listed(parts):
            sys.exit("docs/licences.md is stale; run: make sbom")
        return
    LICENCES.write_text(listed(parts))
    target = Path(arguments[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(bill(parts))


if __name__ == "__main__":
    main(sys.argv[1:])
