"""openapi.yaml and the code agree."""

from __future__ import annotations

import copy
import enum
import re
from typing import Any

import httpx
import jsonschema_rs
import pytest

import errors
import models
from container import Container
from contract import operations, schemas
from contract.operations import ContractError

DOCUMENT = schemas.load(schemas.OPENAPI)
EVENTS = schemas.load(schemas.ASYNCAPI)
OPERATIONS = operations.definitions(DOCUMENT)

#: Operations without authentication. An addition needs a reason in its review.
PUBLIC = {
    "checkHealth",
    "checkReadiness",
    "getMetrics",
    "getJwks",
    "getPolicy",
    "register",
    "login",
    "refreshTokens",
    "requestPasswordReset",
    "resetPassword",
    "verifyEmail",
    "loginWithIdToken",
    "startAuthorization",
    "exchangeAuthorizationCode",
    "createPasskeyChallenge",
    "loginWithPasskey",
    "getLoginMethods",
    "requestEmailCode",
    "loginWithEmailCode",
    # The old address may have no login any more: the token of its mail stands for one change.
    "undoEmailChange",
    "receivePaymentWebhook",
    # Players send no headers: the token stands in the address.
    "getPlaylist",
    # A banned account has no login: the token in the body stands for one sanction.
    "readSanction",
    "submitAppeal",
    # What a server offers of tus, which clients ask before they have anything to show.
    "describeUpload",
    "describeUploads",
}
#: Operations that answer more to a request with a token.
OPTIONAL = {"listCourses", "listLessons", "getCourse"}


def test_every_operation_is_bound(container: Container) -> None:
    assert set(operations.bind(DOCUMENT, container)) == set(OPERATIONS)


def test_operation_without_a_function_stops_the_start(container: Container) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["paths"]["/health"]["get"]["operationId"] = "readPulse"
    with pytest.raises(ContractError, match=r"handlers\.health\.read_pulse, but there is no such function"):
        operations.bind(document, container)


def test_handler_without_an_operation_stops_the_start(container: Container) -> None:
    document = copy.deepcopy(DOCUMENT)
    del document["paths"]["/health"]
    with pytest.raises(ContractError, match=r"handlers\.health\.check_health takes requests"):
        operations.bind(document, container)


def test_two_operations_cannot_share_a_function(container: Container) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["paths"]["/pulse"] = document["paths"]["/health"]
    with pytest.raises(ContractError, match="names two operations"):
        operations.bind(document, container)


def test_unknown_parameter_of_a_function_stops_the_start(container: Container) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["components"]["parameters"]["limit"]["name"] = "most"
    with pytest.raises(ContractError, match=r"differ in parameters: limit, most"):
        operations.bind(document, container)


def test_unknown_form_part_of_a_function_stops_the_start(container: Container) -> None:
    document = copy.deepcopy(DOCUMENT)
    form = document["components"]["schemas"]["AvatarUpload"]
    form["properties"]["picture"] = form["properties"].pop("file")
    with pytest.raises(ContractError, match=r"uploadAvatar .* file, picture"):
        operations.bind(document, container)


def test_unreadable_rate_limit_stops_the_start(container: Container) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["paths"]["/auth/login"]["post"]["x-rate-limit"] = [{"limit": 5, "window": "soon", "per": "ip"}]
    with pytest.raises(ContractError, match="login has an x-rate-limit"):
        operations.bind(document, container)


def test_codes_of_the_specs_are_those_of_the_errors() -> None:
    assert set(DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"]) == errors.REST_CODES
    assert set(EVENTS["components"]["schemas"]["ErrorCode"]["enum"]) == errors.SOCKET_CODES


#: Schemas, and places in schemas, whose values are those of a model.
VALUES: dict[tuple[str, ...], type[enum.Enum]] = {
    ("Level",): models.EnglishLevel,
    ("LearningGoal",): models.LearningGoal,
    ("Platform",): models.Platform,
    ("Role",): models.Role,
    ("ReportReason",): models.ReportReason,
    ("ReportStatus",): models.ReportStatus,
    ("NotificationType",): models.NotificationType,
    ("OrderStatus",): models.OrderStatus,
    ("OrderAlert",): models.AlertKind,
    ("RefundStatus",): models.RefundStatus,
}


@pytest.mark.parametrize("place", VALUES, ids=".".join)
def test_values_of_the_spec_are_those_of_the_models(place: tuple[str, ...]) -> None:
    node = DOCUMENT["components"]["schemas"]
    for key in place:
        node = node[key]
    assert {value for value in node["enum"] if value is not None} == {each.value for each in VALUES[place]}


def test_derived_values_of_the_specs_follow_the_models() -> None:
    """`endedBy` is stated from the side of the learner who asks; levels and notification types are in both specs."""
    rest, events = DOCUMENT["components"]["schemas"], EVENTS["components"]["schemas"]
    sides = {"me", "partner"}, {models.EndedBy.USER_A.value, models.EndedBy.USER_B.value}
    ended_by = set(rest["CallEnd"]["enum"])
    assert ended_by - sides[0] == {each.value for each in models.EndedBy} - sides[1] and sides[0] < ended_by
    assert rest["CallLevel"]["enum"] == events["CallLevel"]["enum"]
    assert rest["Level"]["enum"] == events["Level"]["enum"]
    assert rest["NotificationType"]["enum"] == events["NotificationType"]["enum"]


def test_description_lists_the_common_codes() -> None:
    """What any operation can answer is not repeated in the `x-codes` of each."""
    _, _, after = DOCUMENT["info"]["description"].partition("Beside them every operation can answer ")
    assert set(re.findall("`([a-z_]+)`", after.partition(".")[0])) == operations.COMMON_CODES


def test_error_codes_are_unique() -> None:
    codes = [error.code for error in errors.list_error_classes()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("operation_id", sorted(OPERATIONS))
def test_operations_that_are_not_public_need_a_token(operation_id: str) -> None:
    security = OPERATIONS[operation_id].get("security", [])
    assert (operation_id in PUBLIC) == (security == [])
    assert (operation_id in OPTIONAL) == operations.is_public(OPERATIONS[operation_id])
    named = [requirement for requirement in security if requirement or operation_id not in OPTIONAL]
    assert all(set(requirement) <= {"bearer", "admin"} and requirement for requirement in named)
    if OPERATIONS[operation_id]["tags"] == ["admin"]:
        assert security == [{"admin": []}]


@pytest.mark.rest_paths
@pytest.mark.parametrize("operation_id", sorted(OPERATIONS))
async def test_anonymous_request_gets_a_valid_problem(operation_id: str, api: httpx.AsyncClient) -> None:
    operation = OPERATIONS[operation_id]
    if operation_id in PUBLIC | OPTIONAL:
        return
    path = operation["path"]
    for parameter in operation.get("parameters", []):
        name = schemas.follow(parameter, DOCUMENT)["name"]
        path = path.replace(f"{{{name}}}", "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0")
    answer = await api.request(operation["method"], path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="parlance"'
    if operation["method"] != "head":
        assert_problem(answer, "unauthenticated")


def assert_problem(answer: httpx.Response, code: str) -> None:
    """Check an answer against the Problem of the spec: errors are not response-validated by the server."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    body = answer.json()
    schema = {"$ref": "#/components/schemas/Problem", "components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(schema).validate(body)
    assert body["code"] == code, body
    assert body["status"] == answer.status_code


@pytest.mark.rest_paths
async def test_invalid_response_is_not_sent_in_tests(container: Container) -> None:
    from contract import rest
    from testing.servers import client

    document: dict[str, Any] = copy.deepcopy(DOCUMENT)
    document["components"]["schemas"]["Health"]["properties"]["status"]["enum"] = ["well"]
    async with client(rest.build(container, document)) as api:
        answer = await api.get("/health")
    assert answer.status_code == 500
