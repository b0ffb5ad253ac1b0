"""Both specs as the viewer of the documentation pages shows them: the served documents with what it has no place for.

Error codes, rate limits and access become part of an operation's description, which the viewer shows and searches;
`x-codeSamples` are generated. `/openapi.json` and `/asyncapi.json` are served without these.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from contract import code_samples
from contract.operations import METHODS

Document = dict[str, Any]
_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_SUBJECTS = {"ip": "IP address", "account": "account", "account-ip": "account and IP address"}


def openapi(document: Document) -> Document:
    """Return the served openapi.yaml for the viewer.

    It has one security scheme, so that one token serves all operations: the scheme of administrators takes an access
    token too.
    """
    shown = deepcopy(document)
    schemes = shown.get("components", {}).get("securitySchemes", {})
    if "bearer" in schemes:
        shown["components"]["securitySchemes"] = {"bearer": schemes["bearer"]}
    # The page knows the origin from which it was loaded.
    shown.pop("servers", None)
    for path, item in shown["paths"].items():
        for method in (each for each in METHODS if each in item):
            operation = item[method]
            operation["x-codeSamples"] = code_samples.samples(path, method, item, document)
            operation["description"] = _describe(operation)
            operation["security"] = [
                {"bearer": []} if requirement else {} for requirement in operation.get("security", [])
            ]
    return shown


def asyncapi(document: Document) -> Document:
    """Return the served asyncapi.yaml for the viewer, as a client sees it.

    What the server receives, the client sends. The two directions are channels of their own, which the viewer lists one
    after the other; both are the default namespace. How to authenticate is in the description of the document.
    """
    shown = deepcopy(document)
    for server in shown.get("servers", {}).values():
        server.pop("security", None)
    namespace = next(iter(shown["channels"]), "")
    operations = shown["operations"]
    shown["channels"], shown["operations"] = {}, {}
    for action, title in (("send", "Events that a client sends"), ("receive", "Events that a client receives")):
        taken = {key: each for key, each in operations.items() if each["action"] != action}
        if taken:
            shown["channels"][action] = {**document["channels"][namespace], "title": title}
        for key, operation in taken.items():
            operation = deepcopy(operation)
            _point(operation, f"#/channels/{namespace}", f"#/channels/{action}")
            operation["action"] = action
            operation["description"] = _describe(operation)
            operation.get("reply", {}).pop("channel", None)
            shown["operations"][key] = operation
    return shown


def _point(node: Any, old: str, new: str) -> None:
    """Let references to `old`, and to what is in it, point to `new`."""
    if isinstance(node, list):
        for each in node:
            _point(each, old, new)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and (value == old or value.startswith(f"{old}/")):
                node[key] = new + value.removeprefix(old)
            else:
                _point(value, old, new)


def _describe(operation: Document) -> str:
    """Return an operation's description with its access, limits and codes, as Markdown."""
    facts = [operation.get("description", "").strip()]
    if roles := operation.get("x-role"):
        facts.append(f"**Access**: {' and '.join(f'{each}s'.replace('admins', 'administrators') for each in roles)}.")
    if age := operation.get("x-second-factor"):
        facts.append(f"**Second factor**: proven in the last {_describe_duration(age)}, where the account has one.")
    if operation.get("x-idempotent"):
        facts.append("**Repeats**: send an `Idempotency-Key`, and a repeated request gets the first response again.")
    if limits := operation.get("x-rate-limit"):
        facts.append(f"**Rate limit**: {'; '.join(_describe_limit(each) for each in limits)}.")
    if codes := operation.get("x-codes"):
        facts.append(f"**Error codes**: {', '.join(f'[`{code}`](/problems/{code})' for code in codes)}")
    return "\n\n".join(fact for fact in facts if fact)


def _describe_limit(limit: Document) -> str:
    counted = "failures" if limit.get("counts") == "failures" else "requests"
    return f"{limit['limit']} {counted} in {_describe_duration(limit['window'])} per {_SUBJECTS[limit['per']]}"


def _describe_duration(text: str) -> str:
    count, unit = int(text[:-1]), _UNITS[text[-1]]
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
