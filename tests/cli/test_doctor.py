"""`parlance doctor`: each check's verdict, and the fix of each fault."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from adapters.keys import KeyFiles
from adapters.passkeys import find_relying_party
from adapters.redis import connect
from cli.configured import operator_settings
from cli.migrations import revisions, upgrade_to_head
from devtools.embedded import EmbeddedServices
from devtools.stand_ins import running
from devtools.stand_ins.issuers import running_issuer
from models import Role
from services.operations.doctor import DoctorService
from services.operations.findings import Finding, NotOk
from services.operations.identity_checks import describe_login_methods
from services.safety.word_lists import FOLDER
from settings import Settings
from testing.containers import running_container
from testing.databases import own_database, query
from testing.debian_programs import coturn
from testing.ports import free_port
from testing.servers import PASSWORD
from testing.time_limits import limit
from tests.cli.test_operators import parlance


async def examined(settings: Settings, **changes: Any) -> dict[str, Finding]:
    """The findings by check, with some settings changed."""
    doctor = DoctorService(settings.model_copy(update=changes), revisions(settings), timeout=limit(4))
    return {each.check: each for each in await doctor.examine()}


def secret(settings: Settings, **values: str) -> dict[str, Any]:
    """Settings as they are read: secrets hidden."""
    return {name: getattr(Settings.model_validate({name: value}), name) for name, value in values.items()}


@contextmanager
def answering(status: int, body: dict[str, Any]) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A vendor that gives one answer; its address, and what it was asked."""
    asked: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(({name.lower(): value for name, value in self.headers.items()}, content))
            answer = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_working_deployment_passes(environment: dict[str, str], tmp_path: Path) -> None:
    with running() as stand_ins:
        vendors = stand_ins.environment | stand_ins.issuers.environment
        result = parlance("doctor", "--json", **environment, **vendors, MAIL_DIRECTORY=str(tmp_path))
    findings = {each["check"]: each for each in json.loads(result.stdout)}
    working = ("keys", "database", "migrations", "storage", "google", "apple", "oidc", "stripe", "razorpay")
    assert {name: findings[name]["verdict"] for name in working} == dict.fromkeys(working, "ok")
    assert "PostgreSQL" in findings["database"]["summary"] and "key-v1 signs, mode 0600" in findings["keys"]["summary"]
    assert all((each["fix"] is None) == (each["verdict"] == "ok") for each in findings.values())
    # Nothing is logged of the codes that the check makes providers refuse.
    assert (result.returncode, result.stderr) == (0, "")


def test_missing_services_are_named(tmp_path: Path) -> None:
    port = str(free_port())
    away = {
        "DB_HOST": "127.0.0.1",
        "DB_PORT": port,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": port,
        "STORAGE_ENDPOINT": f"http://127.0.0.1:{port}",
        "STRIPE_SECRET_KEY": "sk_test_1",
        "STRIPE_WEBHOOK_SECRET": "whsec_1",
        "STRIPE_API_URL": f"http://127.0.0.1:{port}",
        "JWT_PRIVATE_KEY_PATH": str(tmp_path / "private.pem"),
        "TURN_HOST": "127.0.0.1",
        "TURN_PORT": port,
    }
    result = parlance("doctor", **away, PARLANCE_ENV_FILE=str(tmp_path / "none"))
    assert result.returncode == 1 and "Traceback" not in result.stdout + result.stderr
    assert result.stderr == "parlance: at fault: keys, database, staff, migrations, redis, storage, stripe\n"
    lines = result.stdout.splitlines()
    for check in ("database", "redis", "storage", "stripe", "turn"):
        (at,) = (number for number, line in enumerate(lines) if line[9:].startswith(f"{check} "))
        assert len(lines[at]) < 260 and lines[at + 1].startswith(" " * 20), lines[at]
    assert "`parlance keys generate`" in result.stdout


async def test_pending_and_unknown_migrations_are_reported(settings: Settings) -> None:
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE doctor")
    there = {"db_name": "doctor"}
    never = (await examined(settings, **there))["migrations"]
    assert never.verdict == "fault" and never.summary == "no migration has been run"
    upgrade_to_head(settings.model_copy(update=there))
    newest, before, *_ = revisions(settings)
    assert (await examined(settings, **there))["migrations"].summary == f"at the newest, {newest}"
    for revision, said in ((before, "1 of "), ("feedfeed", "of a newer release than this one")):
        with psycopg.connect(settings.model_copy(update=there).database_url) as connection:
            connection.execute("UPDATE alembic_version SET version_num = %s", [revision])
        found = (await examined(settings, **there))["migrations"]
        verdict = "warning" if revision == "feedfeed" else "fault"  # a newer release is being rolled out
        assert found.verdict == verdict and said in found.summary, found


async def test_wrong_credentials_are_reported_without_their_value(settings: Settings) -> None:
    with running() as stand_ins:
        addresses = {"stripe_api_url": stand_ins.url, "razorpay_api_url": stand_ins.url}
        wrong = secret(settings, storage_secret_key="Hunter2")
        keys = secret(settings, stripe_secret_key="sk_test_Hunter2", razorpay_key_secret="Hunter2")
        named = {"razorpay_key_id": "rzp_test_1"}
        found = await examined(settings, **addresses, **wrong, **keys, **named)
    assert (
        found["stripe"].summary == "Stripe refuses the key" and found["razorpay"].summary == "Razorpay refuses the key"
    )
    # The database and the Redis of the tests take any password.
    for check in ("storage", "stripe", "razorpay"):
        assert found[check].verdict == "fault" and found[check].fix, found[check]
    assert "Hunter2" not in repr(found)


async def test_missing_database_is_one_sentence(settings: Settings) -> None:
    found = (await examined(settings, db_name="nowhere"))["database"]
    assert found.verdict == "fault" and "has no database nowhere" in found.summary and "\n" not in found.summary


@pytest.mark.parametrize("seconds", [-600, 600])
async def test_clock_difference_to_the_database_is_a_fault(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + seconds)
    found = (await examined(settings))["database"]
    assert (
        found.verdict == "fault" and re.search(r"60\d s off|59\d s off", found.summary) and "NTP" in (found.fix or "")
    )


async def test_silent_service_does_not_delay_the_other_checks(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        found = await examined(settings, redis_host="127.0.0.1", redis_port=port)
    assert found["redis"].verdict == "fault" and "no answer within" in found["redis"].summary
    assert found["database"].verdict == "ok"


async def test_private_key_readable_by_others_is_a_fault(settings: Settings, tmp_path: Path) -> None:
    paths = {"jwt_private_key_path": tmp_path / "private.pem", "jwt_public_key_path": tmp_path / "public.pem"}
    KeyFiles(settings.model_copy(update=paths)).generate()
    assert (await examined(settings, **paths))["keys"].verdict == "ok"
    (tmp_path / "private.pem").chmod(0o640)
    found = (await examined(settings, **paths))["keys"]
    assert found.verdict == "fault" and "0640" in found.summary and "chmod 600" in (found.fix or "")


async def test_redis_eviction_is_a_fault_and_no_aof_a_warning(settings: Settings, tmp_path: Path) -> None:
    with EmbeddedServices(tmp_path, durable=False, only=("valkey",)) as connections:
        where: dict[str, Any] = {"redis_host": connections["REDIS_HOST"], "redis_port": int(connections["REDIS_PORT"])}
        password = connections.get("REDIS_PASSWORD")
        where |= secret(settings, redis_password=password) if password else {"redis_password": None}
        forgets = (await examined(settings, **where))["redis"]
        assert forgets.verdict == "warning" and "appendonly" in (forgets.fix or "")
        client = connect(settings.model_copy(update=where))
        await client.config_set("appendonly", "yes")
        assert (await examined(settings, **where))["redis"].verdict == "ok"
        await client.config_set("maxmemory-policy", "allkeys-lru")
        evicts = (await examined(settings, **where))["redis"]
        assert evicts.verdict == "fault" and "allkeys-lru" in evicts.summary
        await client.aclose()


@pytest.mark.parametrize(
    ("status", "answer", "verdict", "said"),
    [
        (200, {"data": [{"name": "example.com", "status": "verified"}]}, "ok", "example.com is verified"),
        (200, {"data": [{"name": "example.com", "status": "pending"}]}, "fault", "example.com is pending"),
        (200, {"data": []}, "fault", "none of its domains"),
        (401, {"name": "restricted_api_key", "message": "only send", "statusCode": 401}, "ok", "may send"),
        (400, {"name": "validation_error", "message": "API key is invalid", "statusCode": 400}, "fault", "refuses"),
        (500, {"name": "application_error", "message": "no", "statusCode": 500}, "fault", "does not answer"),
    ],
)
async def test_resend_account_is_checked(
    status: int, answer: dict[str, Any], verdict: str, said: str, settings: Settings
) -> None:
    with answering(status, answer) as (url, _):
        key = secret(settings, resend_api_key="re_1")
        found = await examined(settings, **key, resend_api_url=url, email_from="Us <us@example.com>")
    assert found["mail"].verdict == verdict and said in found["mail"].summary, found["mail"]


async def test_fcm_account_is_checked(settings: Settings) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {"firebase_project_id": "speak", "firebase_client_email": "push@speak.example"}
    assert (await examined(settings, **account))["push"].verdict == "fault"
    account |= secret(settings, firebase_private_key=pem)
    with answering(200, {"access_token": "a", "expires_in": 3600}) as (url, asked):
        found = (await examined(settings, **account, firebase_token_url=url))["push"]
        assert found.verdict == "ok", found
        assertion = parse_qs(asked[0][1].decode())["assertion"][0]
    claims = jwt.decode(assertion, RSAKey.import_key(pem)).claims
    assert claims["iss"] == "push@speak.example" and "firebase" in claims["scope"]
    with answering(400, {"error": "invalid_grant"}) as (url, _):
        assert "refuses" in (await examined(settings, **account, firebase_token_url=url))["push"].summary
    away = (await examined(settings, **account, firebase_token_url=f"http://127.0.0.1:{free_port()}"))["push"]
    assert away.verdict == "fault" and "does not answer" in away.summary


@pytest.mark.system
async def test_turn_is_probed_with_call_credentials(settings: Settings, tmp_path: Path) -> None:
    with coturn(tmp_path, settings.turn_secret.get_secret_value()) as relay:
        where = {"turn_host": "127.0.0.1", "turn_port": relay.port}
        found = (await examined(settings, **where))["turn"]
        assert found.verdict == "ok" and "a relay over UDP, 127.0.0.1:" in found.summary
        wrong = (await examined(settings, **where, **secret(settings, turn_secret="another")))["turn"]
    assert wrong.verdict == "fault" and "refuses our credentials" in wrong.summary
    gone = (await examined(settings, **where))["turn"]
    assert gone.verdict == "warning"
    assert (await examined(settings, **where, app_env="production"))["turn"].verdict == "fault"


def test_commands_find_a_running_dev_and_env_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DB_HOST", "REDIS_HOST", "STORAGE_ENDPOINT", "STRIPE_SECRET_KEY", "PARLANCE_ENV_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text("STRIPE_SECRET_KEY=sk_test_real\nREDIS_HOST=elsewhere\nDB_HOST=\n")
    (tmp_path / ".parlance").mkdir()
    assert operator_settings().db_host is None
    (tmp_path / ".parlance" / "dev.env").write_text("DB_HOST=127.0.0.1\nSTORAGE_ENDPOINT=http://127.0.0.1:9\n")
    found = operator_settings()
    assert found.db_host == "127.0.0.1" and found.redis_host == "elsewhere" and found.storage_endpoint
    assert found.stripe_secret_key and found.stripe_secret_key.get_secret_value() == "sk_test_real"
    # An environment that names everything does not mean `parlance dev`.
    for name, value in {"DB_HOST": "db", "REDIS_HOST": "redis", "STORAGE_ENDPOINT": "http://s3"}.items():
        monkeypatch.setenv(name, value)
    assert operator_settings().storage_endpoint == "http://s3"


async def test_word_lists_are_read(settings: Settings, tmp_path: Path) -> None:
    found = (await examined(settings))["word lists"]
    assert found.verdict == "ok" and "18 languages" in found.summary
    (tmp_path / "en.txt").write_text("good\na\n")
    found = (await examined(settings, word_lists_directory=tmp_path))["word lists"]
    assert found.verdict == "fault" and "en.txt, line 2: 'a' is too short" in found.summary
    for path in FOLDER.glob("*.txt"):
        (tmp_path / path.name).write_text("# none\n")
    found = (await examined(settings, word_lists_directory=tmp_path))["word lists"]
    assert found.verdict == "warning" and "no list has an entry" in found.summary


async def test_policy_needs_a_contact_and_own_texts_in_production(settings: Settings, tmp_path: Path) -> None:
    """Whom to write to (DSA art. 11 and 12) is a fault, texts that ship are a warning, and a broken one is named."""
    assert (await examined(settings))["policy"].verdict == "ok"
    production = {"app_env": "production", "app_url": "https://practice.example.com"}
    found = (await examined(settings, **production, contact_email="contact@example.com"))["policy"]
    assert found.verdict == "fault" and found.summary.startswith("CONTACT_ADDRESS not set")
    known = {**production, "contact_email": "contact@example.com", "contact_address": "1 Example Street"}
    found = (await examined(settings, **known))["policy"]
    assert found.verdict == "warning" and "terms, rules, privacy" in found.summary
    for name in ("terms", "rules", "privacy"):
        (tmp_path / f"{name}.md").write_text(f"<!-- version: 1 -->\n# Our {name}\n")
    found = (await examined(settings, **known, policy_directory=tmp_path))["policy"]
    assert found.verdict == "ok" and "contact@example.com" in found.summary
    (tmp_path / "term.md").write_text("")
    found = (await examined(settings, **known, policy_directory=tmp_path))["policy"]
    assert found.verdict == "warning" and "term.md" in found.summary
    (tmp_path / "rules.md").write_text("# Our rules\n")
    found = (await examined(settings, **known, policy_directory=tmp_path))["policy"]
    assert found.verdict == "fault" and f"{tmp_path / 'rules.md'} has no version" in found.summary


async def test_doctor_names_reasons_that_hold_at_once(settings: Settings) -> None:
    assert (await examined(settings))["holds"].verdict == "ok"
    found = (await examined(settings, report_hold_reasons=["threat", "minor_safety"]))["holds"]
    assert found.verdict == "warning" and "threat, minor_safety" in found.summary and found.fix


async def test_doctor_lists_staff_without_factor(settings: Settings) -> None:
    """In production, where a factor is needed, and not one who has enrolled or is a learner."""
    with own_database(settings) as own:
        async with running_container(own) as services:
            await services.administrators.create("with@example.com", PASSWORD)
            await services.administrators.create("without@example.com", PASSWORD, Role.MODERATOR)
            await services.authentication.register("learner@example.com", PASSWORD, "phone", "ios")
            statement = (
                "INSERT INTO second_factors (user_id, secret, enrolled_at) SELECT id, 'plain:x', now() FROM users"
            )
            await query(services, f"{statement} WHERE email = 'with@example.com'")
            await services.administrators.create("passkey@example.com", PASSWORD)
            statement = (
                "INSERT INTO passkeys (id, user_id, credential_id, public_key, name, aaguid)"
                " SELECT gen_random_uuid(), id, 'x', 'x', 'Key', gen_random_uuid() FROM users"
            )
            await query(services, f"{statement} WHERE email = 'passkey@example.com'")
        found = await examined(own, app_env="production")
        assert found["staff"].verdict == "warning"
        assert found["staff"].summary == "1 without a second factor: without@example.com"
        assert found["identifier hashes"].verdict == "warning"
        keys = SecretStr("5a" * 32)
        found = await examined(own, app_env="production", staff_second_factor="off", identifier_hash_keys=keys)
        assert found["staff"].verdict == found["identifier hashes"].verdict == "ok"


async def test_doctor_names_the_domain_of_passkeys(settings: Settings) -> None:
    found = (await examined(settings, app_url="https://api.example.com", passkey_rp_id="example.com"))["passkeys"]
    assert found.verdict == "ok" and "RP ID example.com" in found.summary
    assert "https://api.example.com" in found.summary and "https://example.com" in found.summary
    found = (await examined(settings, app_url="https://api.example.com", passkey_rp_id="example.net"))["passkeys"]
    assert found.verdict == "warning" and "PASSKEY_RP_ID" in (found.fix or "")
    assert (await examined(settings, app_url="https://192.0.2.7"))["passkeys"].verdict == "ok"
    found = (await examined(settings, app_env="production", app_url="https://192.0.2.7"))["passkeys"]
    assert found.verdict == "warning" and "IP address" in found.summary


async def test_doctor_lists_gates_that_are_off(settings: Settings) -> None:
    """In production that is a fault; where they are not set they are on there."""
    found = (await examined(settings))["gates"]
    assert found.verdict == "ok" and "AGE_GATE" in found.summary and "EMAIL_GATE" in found.summary
    found = (await examined(settings, app_env="production", terms_gate="off"))["gates"]
    assert (found.verdict, found.summary) == ("fault", "off: TERMS_GATE")
    assert (await examined(settings, app_env="production"))["gates"].verdict == "ok"


def provider_settings(environment: dict[str, str], **changes: str) -> dict[str, Any]:
    """The settings of identity providers, as they are read."""
    values = {name.lower(): value for name, value in environment.items()} | changes
    read = Settings.model_validate(values)
    return {name: getattr(read, name) for name in values}


async def test_identity_providers_are_examined(settings: Settings) -> None:
    checks = ("google", "apple", "oidc")
    found = await examined(settings)
    assert {found[check].summary for check in checks} == {"not used"}
    assert found["login methods"].summary == "password, code by e-mail, passkeys"
    with running_issuer() as issuer:
        found = await examined(settings, **provider_settings(issuer.environment))
        assert found["google"].summary == f"Google at {issuer.google.url}, 1 key, the client's secret is accepted"
        assert found["oidc"].summary == f"Keycloak at {issuer.oidc.url}, 2 keys, the client's secret is accepted"
        assert {found[check].verdict for check in checks} == {"ok"}, found
        assert found["login methods"].summary.endswith("passkeys, Google, Apple, Keycloak")

        # Without its key Apple's grants outlive the account; apps of Google need no secret.
        without = {"apple_key_id": None, "google_client_secret": None}
        found = await examined(settings, **provider_settings(issuer.environment) | without)
        assert found["apple"].verdict == "warning" and "nothing is revoked" in found["apple"].summary
        assert found["google"].summary.endswith("1 key, no authorization code of the web")

        wrong = provider_settings(
            issuer.environment, google_client_secret="Hunter2", oidc_client_secret="Hunter2", apple_key_id="HUNTER2AAA"
        )
        found = await examined(settings, **wrong)
        for check, fix in zip(checks, ("GOOGLE_CLIENT_SECRET", "APPLE_KEY_ID", "OIDC_CLIENT_SECRET"), strict=True):
            assert found[check].verdict == "fault" and "refuses codes" in found[check].summary, found[check]
            assert fix in (found[check].fix or "") and "Hunter2" not in str(found[check])

        issuer.google.documents["jwks"] = {"keys": []}
        issuer.apple.documents["discovery"] = issuer.google.discovery()
        issuer.faults.add("refuse", "GET /realms/*", status=500, times=100)
        found = await examined(settings, **provider_settings(issuer.environment))
        assert "has no usable key" in found["google"].summary
        assert "names another issuer" in found["apple"].summary and "APPLE_ISSUER" in (found["apple"].fix or "")
        assert "answers 500" in found["oidc"].summary
    found = await examined(settings, **provider_settings(issuer.environment))
    assert all(found[check].verdict == "fault" and "does not answer" in found[check].summary for check in checks)


def test_google_alone_is_warned_of_in_production() -> None:
    """App Review wants a private login beside that of Google: Apple's, or passkeys."""
    google = Settings.model_validate({"app_env": "production", "google_client_ids_ios": "ios.example"})
    with pytest.raises(NotOk) as found:
        describe_login_methods(google, has_passkeys=False)
    assert found.value.verdict == "warning" and "Google without a login that hides the address" in found.value.summary
    assert describe_login_methods(google, has_passkeys=True) == "password, code by e-mail, passkeys, Google"
    changed: list[dict[str, Any]] = [
        {"apple_client_ids_ios": ["app.example"]},
        {"app_env": "development"},
        {"google_client_ids_ios": []},
    ]
    for changes in changed:
        assert "password" in describe_login_methods(google.model_copy(update=changes), has_passkeys=False)
    for url, offered in (("https://a.example", True), ("https://192.0.2.1", False), ("https://[2001:db8::1]", False)):
        assert (find_relying_party(google.model_copy(update={"app_url": url})) is not None) is offered


@pytest.mark.parametrize(
    ("pairing", "verdict", "word"),
    [
        ("anyone,partners,course", "ok", "anyone+partners+course"),
        ("ios=partners,course;*=anyone,partners,course", "ok", "ios: partners+course"),
        ("partners,course", "warning", "same course"),
        ("partners", "fault", "can meet nobody"),
    ],
)
async def test_ways_to_meet_are_checked(settings: Settings, pairing: str, verdict: str, word: str) -> None:
    found = (await examined(settings, pairing=Settings.model_validate({"pairing": pairing}).pairing))["pairing"]
    assert found.verdict == verdict, found
    assert word in found.summary, found
    assert bool(found.fix) == (verdict != "ok")
