"""Validator of the parameters of REST requests; its errors name a parameter and never repeat its value."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from connexion.validators.parameter import ParameterValidator

import errors

if TYPE_CHECKING:
    from connexion.lifecycle import ConnexionRequest
    from starlette.types import Scope

#: An integer as JSON writes it. Python's `int` also accepts a plus, spaces, underscores and the digits of any script.
_INTEGER = re.compile("-?[0-9]{1,19}")


class Parameters(ParameterValidator):  # type: ignore[misc]
    """Connexion's validator with messages that repeat neither the value nor the schema.

    Stricter than Connexion, which takes the last of repeated values, and any integer that Python reads.
    """

    def validate(self, scope: Scope) -> None:
        super().validate(scope)
        types = {each["name"]: each.get("schema", {}).get("type") for each in self.parameters["query"]}
        given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        for name, times in Counter(name for name, _ in given).items():
            if times > 1 and types.get(name) != "array":
                raise errors.RequestInvalid(f"'{name}' is given more than once")
        for name, text in given:
            if types.get(name) == "integer" and not _INTEGER.fullmatch(text):
                raise errors.RequestInvalid(f"'{name}' does not match the contract")

    def validate_query_parameter_list(self, request: ConnexionRequest, security_params: Any = None) -> set[str]:
        unknown: set[str] = super().validate_query_parameter_list(request, security_params)
        if unknown:
            names = ", ".join(f"'{name}'" for name in sorted(unknown))
            raise errors.RequestInvalid(f"the query has parameters that are not in the contract: {names[:200]}")
        return unknown

    @staticmethod
    def validate_parameter(
        parameter_type: str, value: Any, param: dict[str, Any], param_name: Any = None
    ) -> str | None:
        problem: str | None = ParameterValidator.validate_parameter(parameter_type, value, param, param_name)
        return f"'{param['name']}' does not match the contract" if problem else None
