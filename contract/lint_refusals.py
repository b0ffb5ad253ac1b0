"""Rules of `contract/lint.py` for what an operation of openapi.yaml refuses: codes, statuses, roles, and its end."""

from __future__ import annotations

import re
from collections.abc import Iterator

import errors
from contract import schemas
from contract.lint_rules import Document, Problem
from contract.operations import COMMON_CODES

_PROBLEM = "#/components/responses/Problem"
_STATUSES = {error.code: error.status for error in errors.list_error_classes()}


def refusal_problems(document: Document, operation: Document) -> Iterator[Problem]:
    """Yield where `x-codes`, responses, security and limits of an operation disagree."""
    codes, responses = operation.get("x-codes"), operation["responses"]
    if not isinstance(codes, list):
        yield ("x-codes",), "an operation lists the codes that it answers, beside those of all operations"
        return
    enum = document.get("components", {}).get("schemas", {}).get("ErrorCode", {})
    known = enum.get("enum", enum.get("x-extensible-enum", []))  # the latter in the served document
    for index, code in enumerate(codes):
        if code not in known or code in codes[:index]:
            yield ("x-codes", index), "should be one of ErrorCode, listed once"
        elif str(_STATUSES.get(code)) not in responses:
            yield ("responses",), f"lacks {_STATUSES.get(code)}, the status of {code}"
    expected = {"rate_limited": "x-rate-limit" in operation}
    if operation.get("security"):
        expected |= {"unauthenticated": True}
    for code, is_expected in expected.items():
        if is_expected != (code in codes):
            yield ("x-codes",), f"should {'' if is_expected else 'not '}have {code}, by the marks of the operation"
    possible = {str(_STATUSES.get(code)) for code in (*codes, *COMMON_CODES)}
    for status, response in responses.items():
        if status == "default":
            if response != {"$ref": _PROBLEM}:
                yield ("responses", status), f"other errors are answered with {_PROBLEM}"
        elif status[0] in "45":
            content = schemas.follow(response, document).get("content", {}).get("application/problem+json", {})
            if "$ref" not in response or str(content.get("example", {}).get("status")) != status:
                yield ("responses", status), "should be the component of this status, with an example of it"
            elif status not in possible:
                yield ("responses", status), "no code of `x-codes` has this status"
    if not {"400", "default"} <= responses.keys():
        yield ("responses",), "has 400, because each operation validates its input, and `default`"


def deprecation_problems(operation: Document) -> Iterator[Problem]:
    """Check that an operation is deprecated since a day, until a later one."""
    days = [operation.get(name, "") for name in ("x-deprecated-since", "x-sunset")]
    if not operation.get("deprecated"):
        if any(days):
            yield ("deprecated",), "goes with `x-deprecated-since` and `x-sunset`"
    elif not all(isinstance(day, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", day) for day in days) or days[0] >= days[1]:
        yield (
            ("x-sunset",),
            "a deprecated operation has the days `x-deprecated-since` and, later, `x-sunset`, in quotes",
        )


#: Of operations of staff: who may call them, and how recently the login must have proven its second factor.
_ROLES = (["admin"], ["moderator", "admin"])
_AGE = re.compile("[1-9][0-9]*[smh]")


def staff_problems(operation: Document) -> Iterator[Problem]:
    """Check that an operation of staff says whose it is, and lists the codes with which it refuses others."""
    codes, age = operation.get("x-codes", []), operation.get("x-second-factor")
    is_staff = any("admin" in requirement for requirement in operation.get("security", []))
    if (is_staff or age is not None) and "x-role" not in operation:
        yield ("x-role",), "an operation of staff lists the roles that may call it"
    if "x-role" in operation and (operation["x-role"] not in _ROLES or not operation.get("security")):
        yield ("x-role",), "should be [admin] or [moderator, admin], of an operation that needs a token"
    if age is not None and not (isinstance(age, str) and _AGE.fullmatch(age)):
        yield ("x-second-factor",), "should be a number and a unit, such as 10m"
    if "x-role" in operation and "forbidden" not in codes:
        yield ("x-codes",), "lacks forbidden: only staff may call it"
    if (is_staff or age is not None) and "second_factor_required" not in codes:
        yield ("x-codes",), "lacks second_factor_required: it needs a second factor"


def address_problems(path: str, method: str, operation: Document) -> Iterator[Problem]:
    """Yield what an operation lacks, or has, against its address and its method."""
    responses = operation["responses"]
    # OPTIONS is answered for any address, and a DELETE may succeed where nothing is left to delete.
    if "{" in path and method not in ("options", "delete") and "404" not in responses:
        yield ("responses",), "lacks 404: its address names something that may not exist"
    if method == "delete" and "requestBody" in operation and not operation.get("deprecated"):
        yield ("requestBody",), "a DELETE has no body, which clients and proxies drop"
