"""Neither the answers nor their duration reveal which addresses have an account.

Registration does (409), as the contract says; its limit per address bounds how many can be tried.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from settings import Settings
from testing.accounts import credentials, new_email
from testing.databases import execute
from testing.servers import Server, address, start_server, stop_server
from testing.time_limits import limit

#: With these a password takes fifty times as long to check as an account to look up: left out, it would be seen.
ROUNDS = 10
WRONG = "not the password"
BAN = "UPDATE users SET is_banned = true, banned_at = now(), ban_reason = 'a test' WHERE email = %s"


@pytest.fixture(scope="module")
def target(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("enumeration") / "server.log"
    running = start_server({**environment, "BCRYPT_ROUNDS": str(ROUNDS)}, log, workers=1)
    yield running
    stop_server(running)


@pytest.fixture
def http(target: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=target.url, timeout=limit(15)) as client:
        yield client


def post(http: httpx.Client, path: str, body: dict[str, str]) -> httpx.Response:
    # A new client address each time, so that rate limits do not decide.
    return http.post(path, json=body, headers={"X-Forwarded-For": address()})


def register(http: httpx.Client) -> str:
    email = new_email()
    assert post(http, "/auth/register", credentials(email)).status_code == 201
    return email


def seen(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """All that an answer says, but for the instant and the name of the request."""
    headers = [each for each in answer.headers.multi_items() if each[0] not in ("date", "x-request-id")]
    return answer.status_code, headers, answer.content


def ratio(known: list[str], unknown: list[str], attempt: Callable[[str], httpx.Response], expected: int) -> float:
    """How much longer known addresses take than unknown ones, by the medians of attempts that take turns."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number, pair in enumerate(zip(known, unknown, strict=True)):
        # Neither kind always comes first.
        for is_known in (True, False) if number % 2 else (False, True):
            email = pair[0] if is_known else pair[1]
            started = time.perf_counter()
            answer = attempt(email)
            seconds[is_known].append(time.perf_counter() - started)
            assert answer.status_code == expected, answer.text
    medians = {is_known: statistics.median(each) for is_known, each in seconds.items()}
    print(f"known {medians[True] * 1000:.2f} ms, unknown {medians[False] * 1000:.2f} ms")
    return medians[True] / medians[False]


@pytest.mark.parametrize("platform", ["ios", "web"])
def test_wrong_password_is_answered_like_an_unknown_email(
    settings: Settings, http: httpx.Client, platform: str
) -> None:
    known, banned = register(http), register(http)
    execute(settings, BAN, banned)
    addresses = known, banned, new_email()
    # The second spelling is counted with the first: what RateLimit has left is less, for each address alike.
    for spell in (str.lower, str.upper):
        answers = [
            post(http, "/auth/login", credentials(spell(email), password=WRONG, platform=platform))
            for email in addresses
        ]
        assert answers[0].status_code == 401 and answers[0].json()["code"] == "invalid_credentials"
        assert [seen(answer) for answer in answers[1:]] == [seen(answers[0])] * 2


def test_wrong_password_takes_as_long_as_an_unknown_email(http: httpx.Client) -> None:
    known = [register(http) for _ in range(3)] * 5
    unknown = [new_email() for _ in known]
    found = ratio(known, unknown, lambda email: post(http, "/auth/login", credentials(email, password=WRONG)), 401)
    # Without the work of a check an unknown address would be answered more than ten times as quickly.
    assert 0.67 < found < 1.5


def test_email_code_does_not_reveal_accounts(http: httpx.Client) -> None:
    def request(email: str) -> httpx.Response:
        return post(http, "/auth/email-code", {"email": email})

    known = [register(http) for _ in range(15)] * 3
    unknown = [new_email() for _ in known]
    answers = [request(email) for email in (register(http), new_email())]
    # The random id alone differs.
    first, second = (
        (answer.status_code, sorted(answer.json()), answer.json()["expiresInSeconds"], seen(answer)[1])
        for answer in answers
    )
    assert first == second and first[0] == 202
    assert 0.67 < ratio(known, unknown, request, 202) < 1.5


def test_wrong_code_does_not_reveal_accounts(http: httpx.Client) -> None:
    known = [register(http) for _ in range(15)]
    unknown = [new_email() for _ in known]
    challenges = {
        email: post(http, "/auth/email-code", {"email": email}).json()["challengeId"] for email in (*known, *unknown)
    }

    def guess(email: str) -> httpx.Response:
        body = {"challengeId": challenges[email], "email": email, "code": "000000"}
        return post(http, "/auth/email-code/login", {**body, "deviceId": "phone", "platform": "ios"})

    assert seen(guess(known[0])) == seen(guess(unknown[0]))
    assert 0.67 < ratio(known[1:] * 3, unknown[1:] * 3, guess, 401) < 1.5


def test_forgot_password_does_not_reveal_accounts(http: httpx.Client) -> None:
    def forgot(email: str) -> httpx.Response:
        return post(http, "/auth/forgot-password", {"email": email})

    known = [register(http) for _ in range(15)] * 3
    unknown = [new_email() for _ in known]
    answers = [forgot(email) for email in (register(http), new_email())]
    assert seen(answers[0]) == seen(answers[1]) and answers[0].status_code == 202 and answers[0].content == b""
    # A mail that left at once, or a row made for known addresses only, would cost as much again as all the rest.
    assert 0.67 < ratio(known, unknown, forgot, 202) < 1.5
