"""Logs contain no secret: planted ones pass every entry point, also its failures, and are searched for in the log."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyotp
import pytest
import socketio
from psycopg import sql
from websockets.asyncio.client import connect

from container import Container
from settings import Settings
from testing.accounts import bearer, new_email
from testing.calls import empty_queue, match
from testing.databases import execute
from testing.email_outbox import ResendStandIn
from testing.gates import birth_date, pass_gates
from testing.polling import eventually
from testing.servers import Learner, Phone, dial
from testing.time_limits import limit
from tests.adapters.log_canaries import (
    CANARY,
    Deployment,
    credentials,
    deploy_with_canaries,
    hash_token,
    new_canary,
    visitor,
)


@pytest.fixture(params=["production", "test"])
def deployment(
    request: pytest.FixtureRequest,
    environment: dict[str, str],
    settings: Settings,
    resend_api: ResendStandIn,
    tmp_path: Path,
) -> Iterator[Deployment]:
    with deploy_with_canaries(request.param, environment, settings, resend_api, tmp_path) as made:
        yield made


async def test_no_secret_reaches_a_log_line(deployment: Deployment, container: Container) -> None:
    await empty_queue(container)
    ada, bob = new_email(), new_email()
    password = deployment.password()
    await sign_in_and_refresh(deployment, ada, password)
    password = await follow_the_mails(deployment, ada, password)
    await prove_a_second_factor(deployment, ada, password)
    await declare_an_age_and_appeal(deployment)
    await send_what_is_malformed(deployment, ada, password)
    await connect_sockets(deployment, ada, bob, password)
    await break_the_mail_provider(deployment, ada)
    await push_to_unreachable_fcm(deployment, ada, password)
    await break_the_database(deployment, ada, password)

    log = deployment.log()
    # First that everything was there to be seen: every entry point, every way to fail.
    for evidence in (
        "POST /auth/register 201",
        "POST /auth/login 200",
        "POST /auth/login 401",
        "POST /auth/login 503",
        "POST /auth/refresh 200",
        "POST /auth/refresh 500",
        "POST /auth/reset-password 204",
        "POST /auth/reset-password 500",
        "POST /auth/second-factor 201",
        "POST /auth/second-factor/proof 403",
        "POST /auth/second-factor/proof 500",
        "PUT /users/me/age 500",
        "POST /appeals 201",
        "POST /appeals 500",
        "Traceback (most recent call last)",
        "CheckViolation",
        "UndefinedColumn",
        "dependency_unavailable",
        "malformed_packet_disconnected",
        "auth.send_password_reset",
        "job_worker_ready",
        "/socket.io/",
    ):
        assert evidence in log, f"the log lacks '{evidence}'"
    assert [name for name, value in deployment.planted.items() if value in log] == []
    # Secrets without a canary: a token, a password's hash.
    assert re.findall(r"eyJ[\w-]{10,}|\$2[aby]\$\d\d\$", log) == []
    assert CANARY not in log

    spans, reports = deployment.collector.spans, deployment.sentry.reports
    assert {"POST /auth/login", "POST /auth/reset-password", "job auth.send_password_reset", "resend send"} <= {
        span.name for span in spans
    }
    assert {"s3 put_object", "google get_access_token", "match", "find_partner", "participant"} & {
        span.name for span in spans
    } >= {"google get_access_token", "match", "find_partner", "participant"}
    assert {"CheckViolation", "ProgrammingError"} & {
        each["type"] for report in reports for each in report["exception"]["values"]
    }
    telemetry = deployment.telemetry()
    assert [name for name, value in deployment.planted.items() if value in telemetry] == []
    assert [word for word in (CANARY, ada, bob, "eyJ", "X-Amz-Signature") if word in telemetry] == []
    assert {headers["x-api-key"] for headers in deployment.collector.headers} == {
        value for name, value in deployment.planted.items() if name.startswith("OTEL_EXPORTER_OTLP_HEADERS")
    }
    if deployment.own.is_production:
        for line in log.splitlines():
            assert not line or {"time", "level", "logger", "message"} <= json.loads(line).keys(), line


async def sign_in_and_refresh(deployment: Deployment, email: str, password: str) -> None:
    async with visitor(deployment) as http:
        new = deployment.tokens(await http.post("/auth/register", json=credentials(email, password)))
        assert (await http.post("/auth/register", json=credentials(email, password))).status_code == 409
        assert (await http.post("/auth/login", json=credentials(email, deployment.password()))).status_code == 401
        web = await http.post("/auth/login", json=credentials(email, password, platform="web"))
        refresh_token = deployment.tokens(web)["refreshToken"]

        fresh = deployment.tokens(await http.post("/auth/refresh", json={"refreshToken": new["refreshToken"]}))
        deployment.tokens(await http.post("/auth/refresh", json={"refreshToken": fresh["refreshToken"]}))
        reused = await http.post("/auth/refresh", json={"refreshToken": new["refreshToken"]})
        assert reused.json()["code"] == "refresh_token_reused"

        headers = {"Cookie": f"{deployment.cookie_name}={refresh_token}"}
        assert (await http.post("/auth/refresh", headers=headers)).status_code == 403
        by_cookie = await http.post("/auth/refresh", headers={**headers, "Origin": deployment.own.app_url})
        deployment.tokens(by_cookie)
        deployment.plant("unknown refresh token", unknown := new_canary("refresh"))
        assert (await http.post("/auth/refresh", json={"refreshToken": unknown})).status_code == 401

        signed_in = bearer(by_cookie.json()["accessToken"])
        assert (await http.get("/users/me", headers=signed_in)).status_code == 200
        assert (await http.get("/ready")).status_code == 200
        assert (await http.post("/auth/logout", headers=signed_in)).status_code == 204
        assert (await http.get("/users/me", headers=signed_in)).status_code == 401


async def prove_a_second_factor(deployment: Deployment, email: str, password: str) -> None:
    """Enroll, log in with a recovery code, send wrong codes, and break the table in between."""
    execute(deployment.own, "UPDATE users SET role = 'moderator' WHERE email = %s", email)
    async with visitor(deployment) as http:
        login = credentials(email, password)
        token = deployment.tokens(await http.post("/auth/login", json=login))["accessToken"]
        made = await http.post("/auth/second-factor", json={"password": password}, headers=bearer(token))
        secret = deployment.plant("secret of a second factor", made.json()["secret"])
        code = {"code": pyotp.TOTP(secret).now()}
        confirmed = await http.post("/auth/second-factor/confirmation", json=code, headers=bearer(token))
        for recovery_code in confirmed.json()["recoveryCodes"]:
            deployment.planted[f"recovery code {recovery_code[:2]}"] = recovery_code
            deployment.plant("hash of a recovery code", hash_token(recovery_code.replace("-", "")))
        first, second, *_ = confirmed.json()["recoveryCodes"]
        again = deployment.tokens(await http.post("/auth/login", json={**login, "secondFactorCode": first}))
        headers = bearer(again["accessToken"])
        wrong = deployment.plant("wrong code", f"wrong {secrets.token_hex(12)}")
        for given in (wrong, first):
            answer = await http.post("/auth/second-factor/proof", json={"code": given}, headers=headers)
            assert answer.json()["code"] == "second_factor_invalid"
        for given in (second, pyotp.TOTP(secret).at(time.time() + 30)):
            execute(deployment.own, "ALTER TABLE recovery_codes RENAME COLUMN used_at TO gone")
            execute(deployment.own, "ALTER TABLE second_factors RENAME COLUMN last_step TO gone")
            answer = await http.post("/auth/second-factor/proof", json={"code": given}, headers=headers)
            assert answer.status_code == 500
            execute(deployment.own, "ALTER TABLE recovery_codes RENAME COLUMN gone TO used_at")
            execute(deployment.own, "ALTER TABLE second_factors RENAME COLUMN gone TO last_step")
    execute(deployment.own, "UPDATE users SET role = 'student' WHERE email = %s", email)


async def declare_an_age_and_appeal(deployment: Deployment) -> None:
    """Send a birth date, and the text of an appeal against a ban with facts; break the tables in between."""
    deployment.planted["birth date"] = born = "1931-02-17"
    facts, text = (deployment.plant(name, new_canary(name)) for name in ("facts", "appeal text"))
    email, password = new_email(), deployment.password()
    async with visitor(deployment) as http:
        body = {**credentials(email, password), "birthDate": born}
        signed_in = bearer(deployment.tokens(await http.post("/auth/register", json=body))["accessToken"])
        too_late = {**body, "birthDate": f"{born}T00:00:00Z"}
        assert (await http.post("/auth/register", json=too_late)).status_code == 400
        execute(deployment.own, "ALTER TABLE users RENAME COLUMN age_band TO gone")
        assert (await http.put("/users/me/age", json={"birthDate": born}, headers=signed_in)).status_code == 500
        execute(deployment.own, "ALTER TABLE users RENAME COLUMN gone TO age_band")
        assert (await http.put("/users/me/age", json={"birthDate": born}, headers=signed_in)).status_code == 200
        execute(
            deployment.own,
            "INSERT INTO sanctions (id, user_id, kind, ground, facts, appeal_until) SELECT gen_random_uuid(), id,"
            " 'ban', 'spam', %s, now() + interval '6 months' FROM users WHERE email = %s",
            facts,
            email,
        )
        execute(
            deployment.own,
            "UPDATE users SET is_banned = true, ban_reason = %s, banned_at = now() WHERE email = %s",
            facts,
            email,
        )
        refused = await http.post("/auth/login", json=credentials(email, password))
        assert refused.json()["sanction"]["facts"] == facts
        appeal = {"token": deployment.plant("appeal token", refused.json()["sanction"]["appealToken"]), "text": text}
        execute(deployment.own, "ALTER TABLE appeals RENAME COLUMN text TO gone")
        assert (await http.post("/appeals", json=appeal)).status_code == 500
        execute(deployment.own, "ALTER TABLE appeals RENAME COLUMN gone TO text")
        assert (await http.post("/appeals", json={**appeal, "more": text})).status_code == 400
        assert (await http.post("/appeals", json=appeal)).status_code == 201


async def follow_the_mails(deployment: Deployment, email: str, password: str) -> str:
    """Verify the address and set a new password, which is returned."""
    verification = await deployment.mailed(email, "verify-email")
    async with visitor(deployment) as http:
        await http.get(f"/verify-email?token={verification}")
        assert (await http.post("/auth/verify-email", json={"token": verification})).status_code == 204
        assert (await http.post("/auth/verify-email", json={"token": verification})).status_code == 400

        appeal = deployment.plant("appeal token", new_canary("appeal"))
        await http.get(f"/appeal?token={appeal}")
        for path, more in (("/appeals", {"text": "Not me."}), ("/appeals/sanction", {})):
            assert (await http.post(path, json={"token": appeal, **more})).status_code == 400

        assert (await http.post("/auth/forgot-password", json={"email": email})).status_code == 202
        token = await deployment.mailed(email, "reset-password")
        await http.get(f"/reset-password?token={token}")
        await http.post(f"/auth/reset-password?token={token}", json={"newPassword": password})
        too_long = {"token": token, "newPassword": deployment.plant("long password", new_canary("long") * 3)}
        assert (await http.post("/auth/reset-password", json=too_long)).status_code == 400
        new = deployment.password()
        assert (await http.post("/auth/reset-password", json={"token": token, "newPassword": new})).status_code == 204
        again = {"token": token, "newPassword": deployment.password()}
        assert (await http.post("/auth/reset-password", json=again)).status_code == 400
    return new


async def send_what_is_malformed(deployment: Deployment, email: str, password: str) -> None:
    async with visitor(deployment) as http:
        tokens = deployment.tokens(await http.post("/auth/login", json=credentials(email, password)))
        access, refresh = tokens["accessToken"], tokens["refreshToken"]
        body = json.dumps(credentials(email, password))
        as_json = {"Content-Type": "application/json"}
        for content, headers, status in (
            (body[:-1], as_json, 400),
            (body.replace('"email"', "email"), as_json, 400),
            (body.replace('"ios"', f'"{password}"'), as_json, 400),
            (body.replace('"deviceId"', f'"{password}"'), as_json, 400),
            (json.dumps([password]), as_json, 400),
            (body.replace(password, password + "\\ud800"), as_json, 400),
            (body.encode() + b"\xff", as_json, 400),
            (f"email={email}&password={password}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
            (body, {"Content-Type": f"text/plain; password={password}"}, 415),
        ):
            answer = await http.post("/auth/login", content=content, headers=headers)
            assert answer.status_code == status, answer.text

        basic = deployment.plant("basic credentials", base64.b64encode(f"{email}:{password}".encode()).decode())
        for authorization in (
            access,
            f"Bearer {access}x",
            f"Bearer {access} {access}",
            f"Bearer {refresh}",
            f"Bearer {access[:-20]}",
            f"Token {access}",
            f"Basic {basic}",
        ):
            answer = await http.get("/users/me", headers={"Authorization": authorization})
            assert answer.status_code == 401, answer.text

        signed_in = bearer(access)
        for method, target in (
            ("GET", f"/users/me?access_token={access}"),
            ("GET", f"/users/me?{refresh}"),
            ("GET", f"/sessions?cursor={access}"),
            ("POST", f"/auth/refresh?refreshToken={refresh}"),
            ("GET", f"/nowhere?token={refresh}&password={password}"),
            ("GET", f"/users/me#{refresh}"),
            ("GET", f"/docs?token={refresh}"),
            ("PROPFIND", f"/users/me?token={refresh}"),
        ):
            answer = await http.request(
                method, target, headers={**signed_in, "Cookie": f"{deployment.cookie_name}={refresh}"}
            )
            assert answer.status_code < 500, (target, answer.text)
        for multipart in (b"--x\r\n" + password.encode(), password.encode()):
            headers = {**signed_in, "Content-Type": "multipart/form-data; boundary=x"}
            assert (await http.post("/users/me/avatar", content=multipart, headers=headers)).status_code == 400

    host, port = deployment.url.removeprefix("http://").split(":")
    for request in (f"GET /users/me?token={access}\r\n\r\n", f"{password} {refresh}\r\nCookie: {refresh}\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request.encode())
        await reader.read()
        writer.close()


async def connect_sockets(deployment: Deployment, ada: str, bob: str, password: str) -> None:
    phones = []
    async with visitor(deployment) as one, visitor(deployment) as other:
        for http, email, path in ((one, ada, "/auth/login"), (other, bob, "/auth/register")):
            tokens = deployment.tokens(await http.post(path, json=credentials(email, password)))
            http.headers.update(bearer(tokens["accessToken"]))
            name = f"u{secrets.token_hex(8)}"
            learner = Learner(tokens["user"]["id"], email, name, tokens["accessToken"], tokens["refreshToken"], http)
            # Production asks for it; the birth date is kept nowhere, and so in no line either.
            await pass_gates(deployment.own, learner, age=30)
            deployment.planted["birth date"] = birth_date(30)
            phones.append(await dial(deployment.url, learner))
        first, second = phones
        token = first.learner.access_token
        await talk(deployment, first, second)
        for phone in phones:
            await phone.client.disconnect()

        # As some clients do it: in the address. Once with the right token in its place too, else refused.
        for auth in ({"token": token}, None, {"token": token[:-8]}, {"token": {"token": token}}, token):
            client = socketio.AsyncClient(reconnection=False)
            with contextlib.suppress(socketio.exceptions.ConnectionError):
                await client.connect(
                    f"{deployment.url}?token={token}",
                    auth=auth,
                    headers={"Cookie": f"{deployment.cookie_name}={first.learner.refresh_token}"},
                    transports=["websocket"],
                    wait_timeout=limit(10),
                )
                await client.disconnect()
        ws = deployment.url.replace("http", "ws")
        for query in (f"EIO=4&transport=websocket&token={token}", f"EIO=3&transport=websocket&token={token}"):
            with contextlib.suppress(Exception):
                await connect(f"{ws}/socket.io/?{query}", additional_headers={"Origin": "https://evil.example"})
            with contextlib.suppress(Exception):
                await connect(f"{ws}/elsewhere?{query}")
        await one.get(f"/socket.io/?EIO=4&transport=polling&token={token}")
        for frame in (f'40{{"token": "{token}', f'42["find_partner", "{token}', f"4{token}", token, f"40/{token},{{}}"):
            async with connect(f"{ws}/socket.io/?EIO=4&transport=websocket") as raw:
                await raw.recv()
                await raw.send(f'40{{"token":"{token}"}}' if frame.startswith("42") else frame)
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(raw.recv(), limit(2))
                    await raw.send(frame)
                    await asyncio.wait_for(raw.recv(), limit(2))


async def talk(deployment: Deployment, one: Phone, other: Phone) -> None:
    """Call, with session descriptions that hold ICE passwords, and send payloads that are refused."""
    await match(one, other)
    for phone in (one, other):
        found = await phone.wait_for("match_found")
        [turn] = [each for each in found["iceServers"] if "credential" in each]
        deployment.plant("TURN credential", turn["credential"])
        room = {"roomId": found["roomId"]}
        assert (await phone.send("join_room", room))["ok"]
    sdp = deployment.plant("ICE password", new_canary("ice"))
    assert (await one.send("webrtc_offer", {**room, "sdp": f"v=0\r\na=ice-pwd:{sdp}\r\n"}))["ok"]
    await other.wait_for("webrtc_offer")
    for name, payload in (
        ("webrtc_offer", {**room, "sdp": sdp, "token": one.learner.access_token}),
        ("webrtc_offer", {"roomId": sdp, "sdp": sdp}),
        ("webrtc_ice", {**room, "candidate": sdp}),
        ("find_partner", {"level": one.learner.access_token}),
        ("authenticate", {"token": one.learner.access_token}),
        ("refresh_ice", [one.learner.access_token]),
    ):
        assert not (await one.send(name, payload))["ok"], name
    assert (await one.send("end_call", room))["ok"]


async def break_the_mail_provider(deployment: Deployment, email: str) -> None:
    deployment.resend.answer = (500, {"statusCode": 500, "name": "application_error", "message": "we are down"})
    before = len(deployment.resend.requests)
    async with visitor(deployment) as http:
        assert (await http.post("/auth/forgot-password", json={"email": email})).status_code == 202
    await eventually(lambda: len(deployment.resend.requests) > before, within=20, what="a try to send")
    await deployment.mailed(email, "reset-password")
    await eventually(lambda: "we are down" in deployment.log(), within=10, what="a line about the failed job")
    deployment.resend.answer = (200, {"id": "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"})


async def push_to_unreachable_fcm(deployment: Deployment, email: str, password: str) -> None:
    """Register a device, rightly and wrongly, and let a push to it fail."""
    token = deployment.plant("FCM token", new_canary("fcm"))
    async with visitor(deployment) as http:
        tokens = deployment.tokens(await http.post("/auth/login", json=credentials(email, password)))
        http.headers.update(bearer(tokens["accessToken"]))
        body = {"fcmToken": token, "deviceId": "phone", "platform": "ios"}
        assert (await http.post("/notifications/device", json=body)).status_code == 204
        for wrong in ({**body, "platform": token}, {**body, token: token}, {"fcmToken": [token]}):
            assert (await http.post("/notifications/device", json=wrong)).status_code == 400
        await http.delete(f"/notifications/device?fcmToken={token}")
    container = Container(deployment.own)
    try:
        await container.notifications.send(email, "Hello", "There.")
    finally:
        await container.close()
    await eventually(lambda: "FCM does not answer" in deployment.log(), within=20, what="a line about the failed push")


async def break_the_database(deployment: Deployment, email: str, password: str) -> None:
    """Let PostgreSQL refuse a row, not know a column, and be away."""
    async with visitor(deployment) as http:
        tokens = deployment.tokens(await http.post("/auth/login", json=credentials(email, password)))
        sent = len(deployment.resend.requests)
        assert (await http.post("/auth/forgot-password", json={"email": email})).status_code == 202
        await eventually(lambda: len(deployment.resend.requests) > sent, within=20, what="another mail")
        token = await deployment.mailed(email, "reset-password")

        execute(deployment.own, "ALTER TABLE users ADD CONSTRAINT frozen CHECK (password_hash = '') NOT VALID")
        reset = {"token": token, "newPassword": deployment.password()}
        assert (await http.post("/auth/reset-password", json=reset)).status_code == 500
        execute(deployment.own, "ALTER TABLE users DROP CONSTRAINT frozen")

        execute(deployment.own, "ALTER TABLE refresh_tokens RENAME COLUMN child_nonce TO something_else")
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert answer.status_code == 500
        assert (await http.post("/auth/login", json=credentials(email, password))).status_code == 500
        execute(deployment.own, "ALTER TABLE refresh_tokens RENAME COLUMN something_else TO child_nonce")

    name = sql.Identifier(deployment.own.db_name)
    elsewhere = deployment.own.model_copy(update={"db_name": "postgres"})
    with psycopg.connect(elsewhere.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (deployment.own.db_name,)
        )
        async with visitor(deployment) as http:
            for _ in range(3):
                answer = await http.post("/auth/login", json=credentials(email, password))
                assert answer.status_code == 503, answer.text
            answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
            assert answer.status_code == 503, answer.text
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
