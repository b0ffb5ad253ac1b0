"""Check deploy/helm: lint it, render its examples by Helm's own engine, and validate what comes out.

`make check-chart` runs it with the packages of requirements/helm.txt in PYTHONPATH, which the product does not need.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy" / "helm"
#: The oldest version that the chart supports, and a recent one.
KUBERNETES_VERSIONS = ("1.27.0", "1.36.0")
#: Of Helm's messages, the severity from which one is a problem: a warning.
_WARNING = 2
#: Changes of the minimal values that have to be refused, with a word of the refusal.
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"settings": {"DB_PASSWORD": "secret"}}, "DB_PASSWORD"),
    ({"settings": {"APP_URL": "http://api.example.com"}}, "APP_URL"),
    ({"secret": {"name": ""}}, "secret"),
    ({"keys": {"secretName": ""}}, "keys"),
    ({"keys": {"items": [{"key": "a", "path": "../a"}, {"key": "b", "path": "b"}]}}, "keys"),
    ({"ingress": {"enabled": True}}, "ingress"),
    ({"coturn": {"enabled": True}}, "coturn"),
    ({"coturn": {"externalAddresses": ["203.0.113.5"]}}, "externalAddresses"),
    ({"replicas": 3}, "replicas"),
]


def problems() -> Iterator[str]:
    """Say what is wrong with the chart; nothing where all is well."""
    examples = {path.name: yaml.safe_load(path.read_text()) for path in sorted((CHART / "examples").glob("*.yaml"))}
    known = {line.partition("=")[0] for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line}
    with helm_python.Chart.load(CHART) as chart:
        for name, values in examples.items():
            report = helm_python.lint(CHART, values, strict=True)
            messages = [each["error"] for each in report["messages"] if each["severity"] >= _WARNING]
            yield from (f"{name}: {message}" for message in (*messages, *report["errors"]))
            yield from (f"{name}: {each} is no setting" for each in values["settings"].keys() - known)
            for manifest in _render(chart, values):
                label = f"{name}: {manifest['kind']} {manifest['metadata']['name']}"
                yield from (f"{label}: {each}" for each in _manifest_problems(manifest))
        if any("review-partner" in each["metadata"]["name"] for each in _render(chart, examples["minimal.yaml"])):
            yield "minimal.yaml: the review partner runs although it is off"
        for change, word in REFUSED:
            yield from _acceptance(chart, examples["minimal.yaml"], change, word)


def _render(chart: helm_python.Chart, values: dict[str, Any]) -> list[dict[str, Any]]:
    rendered = chart.render(values, name="parlance", namespace="parlance")
    texts = [text for path, text in rendered.items() if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def _manifest_problems(manifest: dict[str, Any]) -> Iterator[str]:
    for version in KUBERNETES_VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}"
    pod = manifest["spec"].get("template", {}).get("spec") if "spec" in manifest else None
    if pod is None:
        return
    if pod["securityContext"].get("runAsNonRoot") is not True or not pod["securityContext"].get("runAsUser"):
        yield "runs as root, or as a user without a number"
    if pod.get("enableServiceLinks") is not False:
        yield "variables of Services could replace settings"
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        security = container["securityContext"]
        if security["readOnlyRootFilesystem"] is not True or security["allowPrivilegeEscalation"] is not False:
            yield f"{container['name']} may write its root file system, or gain privileges"
        if security["capabilities"]["drop"] != ["ALL"]:
            yield f"{container['name']} keeps capabilities"
        for each in container.get("env", ()):
            if "e+" in str(each.get("value")):
                yield f"{each['name']} is written with an exponent"


def _acceptance(chart: helm_python.Chart, values: dict[str, Any], change: dict[str, Any], word: str) -> Iterator[str]:
    """Say so where values are accepted that have to be refused, or refused without naming what is wrong."""
    changed = {**values}
    for part, fields in change.items():
        changed[part] = {**values.get(part, {}), **fields} if isinstance(fields, dict) else fields
    try:
        chart.render(changed, name="parlance", namespace="parlance")
    except helm_python.HelmError as error:
        if word not in str(error):
            yield f"values {change} are refused without the word {word}: {error}"
    else:
        yield f"values {change} are accepted"


def main() -> int:
    found = list(problems())
    for each in found:
        print(each, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
