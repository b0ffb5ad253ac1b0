"""An operation's request as samples in curl, TypeScript, Python and Dart, filled in from the spec's examples."""

from __future__ import annotations

import json
import re
import shlex
from pprint import pformat
from textwrap import indent
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from contract.examples import NoExample, compose
from contract.schemas import follow

#: Origin of the samples; the page replaces it with the server's own.
ORIGIN = "http://localhost:5503"
_JSON, _FORM = "application/json", "multipart/form-data"
_WIDTH = 88
_CLIENT = f"""\
import {{ ParlanceClient }} from "@parlance/client/rest";

const client = new ParlanceClient({{ url: "{ORIGIN}", platform: "web", deviceId }});
"""


class Request(NamedTuple):
    """An example request of an operation."""

    method: str
    template: str
    path: dict[str, Any]
    query: dict[str, Any]
    headers: dict[str, str]
    is_secured: bool
    #: Of the body, or nothing. A form has one field, `file`.
    content_type: str
    body: Any
    returns_json: bool

    @property
    def address(self) -> str:
        path = re.sub(r"\{(\w+)\}", lambda match: quote(str(self.path[match[1]]), safe=""), self.template)
        return f"{path}?{urlencode(self.query)}" if self.query else path

    @property
    def file(self) -> str:
        """Return the name of the file that the sample sends."""
        return {_FORM: "photo.png", "video/mp4": "lesson.mp4"}.get(self.content_type, "part.bin")


def samples(path: str, method: str, item: dict[str, Any], document: dict[str, Any]) -> list[dict[str, str]]:
    """Return the `x-codeSamples` of an operation; `item` is its path's object in `document`."""
    request = _example_request(path, method, item, document)
    return [
        {"lang": "curl", "label": "curl", "source": _curl(request)},
        {"lang": "typescript", "label": "TypeScript", "source": _typescript(request)},
        {"lang": "python", "label": "Python", "source": _python(request)},
        {"lang": "dart", "label": "Dart", "source": _dart(request)},
    ]


def _example_request(path: str, method: str, item: dict[str, Any], document: dict[str, Any]) -> Request:
    operation = item[method]
    parameters = [follow(each, document) for each in (*item.get("parameters", []), *operation.get("parameters", []))]
    content = follow(operation.get("requestBody", {}), document).get("content", {})
    content_type = next(iter(content), "")
    responses = (follow(each, document) for code, each in operation["responses"].items() if code.startswith("2"))

    def examples(place: str) -> dict[str, Any]:
        return {
            each["name"]: _argument(each, document)
            for each in parameters
            if each["in"] == place
            and (each.get("required") or (place == "header" and "example" in follow(each["schema"], document)))
        }

    return Request(
        method=method.upper(),
        template=path,
        path=examples("path"),
        query=examples("query"),
        headers={name: str(value) for name, value in examples("header").items()},
        # An operation is public if its `security` is empty or has an empty requirement.
        is_secured=bool(operation.get("security")) and {} not in operation["security"],
        content_type=content_type,
        body=content.get(_JSON, {}).get("example"),
        returns_json=any(_JSON in each.get("content", {}) for each in responses),
    )


def _argument(parameter: dict[str, Any], document: dict[str, Any]) -> Any:
    """Return the example of a parameter, else its name in capitals."""
    if "example" in parameter:
        return parameter["example"]
    try:
        return compose(parameter["schema"], document)
    except NoExample:
        return parameter["name"].upper()


def _curl(request: Request) -> str:
    method = "--head" if request.method == "HEAD" else f"--request {request.method}"
    parts = [f"curl {method} {shlex.quote(ORIGIN + request.address)}"]
    if request.is_secured:
        parts.append('--header "Authorization: Bearer $TOKEN"')
    parts += [f"--header {shlex.quote(f'{name}: {value}')}" for name, value in request.headers.items()]
    if request.content_type == _FORM:
        parts.append(f"--form file=@{request.file}")
    elif request.content_type:
        parts.append(f"--header {shlex.quote(f'Content-Type: {request.content_type}')}")
        is_json = request.content_type == _JSON
        parts.append(f"--data {shlex.quote(_json(request.body))}" if is_json else f"--data-binary @{request.file}")
    return " \\\n  ".join(parts)


def _typescript(request: Request) -> str:
    """Return the call of `@parlance/client`, whose operations are those of openapi-fetch."""
    places = {"path": request.path, "query": request.query, "header": request.headers}
    options = []
    if given := {place: values for place, values in places.items() if values}:
        options.append(f"params: {_json(given)},")
    before = ""
    match request.content_type:
        case "":
            pass
        case "application/json":
            options.append(f"body: {_json(request.body)},")
        case "multipart/form-data":
            before = 'const form = new FormData();\nform.append("file", file);\n'
            options.append("body: form as never,")
        case content_type:
            options += [
                f'headers: {{ "Content-Type": "{content_type}" }},',
                "body: file as never,",
                "bodySerializer: (body) => body,",
            ]
    result = "{ data, error }" if request.returns_json else "{ error, response }"
    arguments = f", {{\n{indent(chr(10).join(options), '  ')}\n}}" if options else ""
    call = f"client.rest.{request.method}({json.dumps(request.template)}{arguments})"
    return f"{_CLIENT}{before}const {result} = await {call};"


def _python(request: Request) -> str:
    arguments = [f'"{request.method}"', f'"{ORIGIN}{request.address}"']
    headers = [f'"{name}": {json.dumps(value)}' for name, value in request.headers.items()]
    imports = ["import httpx"]
    if request.is_secured:
        imports = ["import os", "", "import httpx"]
        headers.insert(0, '"Authorization": f"Bearer {os.environ[\'TOKEN\']}"')
    match request.content_type:
        case "":
            pass
        case "application/json":
            literal = pformat(request.body, width=_WIDTH, sort_dicts=False)
            arguments.append(f"json={indent(literal, ' ' * 5).lstrip()}")
        case "multipart/form-data":
            arguments.append(f'files={{"file": open("{request.file}", "rb")}}')
        case content_type:
            headers.append(f'"Content-Type": "{content_type}"')
            arguments.append(f'content=open("{request.file}", "rb")')
    if headers:
        arguments.insert(2, f"headers={_braced(headers)}")
    lines = [*imports, "", "response = httpx.request(", *(indent(f"{each},", "    ") for each in arguments), ")"]
    lines += ["response.raise_for_status()", *(["print(response.json())"] if request.returns_json else [])]
    return "\n".join(lines)


def _dart(request: Request) -> str:
    headers = {**({"Authorization": "Bearer $token"} if request.is_secured else {}), **request.headers}
    imports = ["import 'package:dio/dio.dart';"]
    arguments = [f"'{request.address}'"]
    match request.content_type:
        case "":
            pass
        case "application/json":
            arguments.append(f"data: {_json(request.body).replace('$', chr(92) + '$')}")
        case "multipart/form-data":
            arguments.append(f"data: FormData.fromMap({{'file': await MultipartFile.fromFile('{request.file}')}})")
        case content_type:
            imports.insert(0, "import 'dart:io';")
            headers["Content-Type"] = content_type
            arguments.append(f"data: File('{request.file}').openRead()")
    if headers:
        pairs = [f"'{name}': '{value}'" for name, value in headers.items()]
        arguments.append(f"options: Options(headers: {_braced(pairs)})")
    call = "\n".join(indent(f"{each},", "  ") for each in arguments)
    shown = ["print(response.data);"] if request.returns_json else []
    return "\n".join(
        [
            *imports,
            "",
            f"final dio = Dio(BaseOptions(baseUrl: '{ORIGIN}'));",
            f"final response = await dio.{request.method.lower()}(",
            call,
            ");",
            *shown,
        ]
    )


def _braced(pairs: list[str]) -> str:
    """Write pairs in braces: on one line where they fit."""
    line = f"{{{', '.join(pairs)}}}"
    return line if len(line) <= _WIDTH else "{\n" + "".join(f"  {pair},\n" for pair in pairs) + "}"


def _json(value: Any) -> str:
    """Write a value as JSON, which is a literal of TypeScript and Dart too: on one line where it fits."""
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= _WIDTH else json.dumps(value, ensure_ascii=False, indent=2)
