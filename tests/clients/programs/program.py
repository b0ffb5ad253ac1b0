"""Program of the generated Python client: `job URL ADDRESS COURSE NAME` or `decode FILE`; prints JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import parlance_client
from parlance_client import ApiException, MeUpdate, PlatformInput, Problem, RefreshRequest, RegisterRequest


def refusal(call: Callable[[], Any]) -> list[Any]:
    try:
        call()
    except ApiException as error:
        assert isinstance(error.data, Problem)
        return [error.status, error.data.code]
    raise AssertionError("it was not refused")


def job(url: str, address: str, course_id: str, name: str) -> dict[str, Any]:
    course = UUID(course_id)
    seen: dict[str, Any] = {}
    configuration = parlance_client.Configuration(host=url)
    with parlance_client.ApiClient(configuration) as client:
        client.set_default_header("X-Forwarded-For", address)
        auth, users = parlance_client.AuthApi(client), parlance_client.UsersApi(client)
        courses, mine = parlance_client.CoursesApi(client), parlance_client.MyApi(client)
        account = RegisterRequest(
            email=f"{name}@example.com", password="correct horse battery", deviceId=name, platform=PlatformInput.IOS
        )
        tokens = auth.register(account)
        configuration.access_token = tokens.access_token
        before = users.get_me()
        set_up = users.update_me(MeUpdate(displayName="Ada", bio="Hello"))
        cleared = users.update_me(MeUpdate(bio=None))
        seen["bio"] = [before.bio, set_up.bio, cleared.bio]
        seen["displayName"] = [set_up.display_name, cleared.display_name]
        seen["course"] = course in [each.id for each in courses.list_courses(limit=100).items]
        seen["enrolled"] = courses.enroll(course).is_enrolled
        seen["myCourses"] = [str(each.course.id) for each in mine.list_my_courses().items]
        page = parlance_client.CallsApi(client).list_calls(limit=20)
        seen["calls"] = [len(page.items), page.next_cursor]
        seen["refused"] = refusal(lambda: auth.register(account))
        auth.logout()
        refresh = RefreshRequest(refreshToken=tokens.refresh_token)
        seen["loggedOut"] = refusal(lambda: auth.refresh_tokens(refresh_request=refresh))
    return seen


def decode(file: str) -> dict[str, Any]:
    return {
        name: getattr(parlance_client, name).from_dict(answer).to_json()
        for name, answer in json.loads(Path(file).read_text()).items()
    }


print(json.dumps(job(*sys.argv[2:]) if sys.argv[1] == "job" else decode(sys.argv[2])))
