"""The generated Swift and Dart clients, parsed: their compilers are no packages of PyPI, npm or Debian."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter_dart_orchard
import tree_sitter_swift
from tree_sitter import Language, Node, Parser

from contract.generated_clients import document
from tests.clients.conftest import Generate, Generated, check_generated

PARSERS = {
    "swift": Parser(Language(tree_sitter_swift.language())),
    "dart": Parser(Language(tree_sitter_dart_orchard.language())),
}
#: The empty tuple, which the grammar of Swift cannot read, and the same in other words.
GRAMMAR_GAPS = {
    "let result = () as! T": "let result = Void() as! T",
    ".init(nilLiteral: ())": ".init(nilLiteral: Void())",
}


@pytest.fixture(scope="session")
def swift(generated: Generate) -> Generated:
    return generated("swift")


@pytest.fixture(scope="session")
def dart(generated: Generate) -> Generated:
    return generated("dart")


def faults(node: Node) -> Iterator[str]:
    if node.is_error or node.is_missing:
        yield f"line {node.start_point.row + 1}: {(node.text or b'')[:80]!r}"
    for child in node.children:
        if child.has_error:
            yield from faults(child)


def parse(language: str, text: str) -> list[str]:
    for written, read in GRAMMAR_GAPS.items():
        text = text.replace(written, read)
    return [*faults(PARSERS[language].parse(text.encode()).root_node)]


def sources(folder: Path, language: str) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob(f"*.{language}"))}


def source(folder: Path, name: str) -> str:
    (path,) = folder.rglob(name)
    return path.read_text()


def test_parser_sees_faults() -> None:
    assert parse("swift", "struct Me { var bio: String? }") == [] != parse("swift", "struct Me { var bio: String? ")
    assert parse("dart", "class Me { String? bio; }") == [] != parse("dart", "class Me { String? bio }")


@pytest.mark.parametrize("language", ["swift", "dart"])
def test_names_and_table(generated: Generate, language: str) -> None:
    check_generated(generated(language), "no compiler here; parsed", "–", "source checked")


@pytest.mark.parametrize("language", ["swift", "dart"])
def test_every_file_parses(generated: Generate, language: str) -> None:
    files = sources(generated(language).folder, language)
    assert len(files) > 100
    assert {name: found for name, text in files.items() if (found := parse(language, text))} == {}


def test_dart_imports_are_dependencies(dart: Generated) -> None:
    pubspec = (dart.folder / "pubspec.yaml").read_text()
    declared = set(re.findall(r"^  (\w+):", pubspec.partition("\ndependencies:")[2].partition("dev_")[0], re.M))
    for name, text in sources(dart.folder, "dart").items():
        used = set(re.findall(r"^import 'package:(\w+)/", text, re.M)) - {"parlance_rest"}
        assert used <= declared, name


def test_swift_imports_its_standard_library_alone(swift: Generated) -> None:
    allowed = {"Foundation", "FoundationNetworking", "MobileCoreServices", "UniformTypeIdentifiers"}
    for name, text in sources(swift.folder / "Sources", "swift").items():
        assert set(re.findall(r"^(?:@\w+ )?import (\w+)", text, re.M)) <= allowed, name


def open_fields() -> list[tuple[str, str]]:
    """The fields of responses whose values may grow, by schema."""
    schemas = document()["components"]["schemas"]
    return [
        (name, field)
        for name, schema in schemas.items()
        for field, each in schema.get("properties", {}).items()
        if "additionalProperties" not in schema
        and "x-extensible-enum" in schemas.get(re.sub(r".*/", "", each.get("allOf", [each])[0].get("$ref", "")), each)
    ]


def test_values_that_may_grow_are_strings(swift: Generated, dart: Generated) -> None:
    found = open_fields()
    assert ("Order", "status") in found and ("Problem", "code") in found
    for name, field in found:
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        assert re.search(rf"\bvar {field}: String\b", source(swift.folder, f"{name}.swift")), (name, field)
        # The generator puts `_` behind names that it needs itself, as `source`.
        assert re.search(rf"\bString\??>? get {field}_?;", source(dart.folder, f"{snake}.dart")), (name, field)


def test_closed_lists_have_a_case_for_the_unknown(swift: Generated, dart: Generated) -> None:
    """Swift's CaseIterableDefaultsLast decodes an unknown value as the last case, built_value as the fallback."""
    models = "".join(sources(swift.folder / "Sources", "swift").values())
    cases = re.findall(r"enum \w+: String,[^{]*CaseIterableDefaultsLast {(.*?)}", models, re.S)
    assert len(cases) > 5
    assert all(each.strip().endswith('case unknownDefaultOpenApi = "unknown_default_open_api"') for each in cases)
    assert re.search(r"} else if let lastValue = Self\.allCases\.last {\s+self = lastValue\s", models)
    classes = [text for text in sources(dart.folder, "dart").values() if "extends EnumClass" in text]
    assert len(classes) > 5
    for text in classes:
        assert text.count("extends EnumClass") == text.count("fallback: true"), text


def test_new_fields_are_read_over(swift: Generated, dart: Generated) -> None:
    """Swift decodes the keys that it names; Dart's deserializer collects the others."""
    assert "disallow" not in source(swift.folder, "Me.swift").lower()
    assert "unhandled.add(key);" in source(dart.folder, "me.dart")


def test_absent_and_null_differ_in_a_patch(swift: Generated, dart: Generated) -> None:
    update = source(swift.folder, "MeUpdate.swift")
    assert "bio: NullEncodable<String> = .encodeNothing" in update
    assert "case .encodeNull, .encodeValue: try container.encode(bio, forKey: .bio)" in update
    update = source(dart.folder, "me_update.dart")
    assert "Optional<String?> get bio;" in update and "..bio = Optional.absent()" in update
    assert re.search(r"if \(object\.bio\.isPresent\) {.*?yield r'bio';.*?yield null;", update, re.S)
