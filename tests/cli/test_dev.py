"""`parlance dev`: from an empty directory to an answering server, and a complete stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import stripe

from devtools import stand_in_plan
from testing.ports import free_port
from testing.time_limits import limit

ROOT = Path(__file__).parents[2]
CONFIGURED = (
    *("DB_", "REDIS_", "STORAGE_", "JWT_", "APP_", "PARLANCE_", "STRIPE_", "RAZORPAY_", "PAYMENT_"),
    *("GOOGLE_", "APPLE_", "OIDC_"),
)


@contextmanager
def started(directory: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(CONFIGURED)}
    with (directory / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "dev"],
            cwd=directory,
            env=environment | {"PYTHONPATH": str(ROOT), "PORT": str(port)},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(limit(20))


def wait_until_ready(directory: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + limit(60)
    while "parlance: ready" not in (output := (directory / "output").read_text()):
        assert process.poll() is None, output
        assert time.monotonic() < deadline, output
        time.sleep(0.05)


def listeners(directory: Path, port: int) -> list[int]:
    state = json.loads((directory / ".parlance" / "state.json").read_text())
    ports = [port, *(number for numbers in state["ports"].values() for number in numbers)]
    return [number for number in ports if is_open(number)]


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_taken_port_is_reported_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with started(tmp_path, port) as process:
            assert process.wait(limit(20)) == 1
    assert (tmp_path / "output").read_text() == (
        f"parlance: port {port} is in use by another program; stop it, or choose another port with PORT\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output"]


def test_second_run_finds_its_data(tmp_path: Path) -> None:
    port = free_port()
    dev_env = tmp_path / ".parlance" / "dev.env"
    with started(tmp_path, port) as process:
        wait_until_ready(tmp_path, process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
            assert json.load(answer)["status"] == "ok"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready") as answer:
            assert json.load(answer)["status"] == "ok"
        assert dev_env.stat().st_mode & 0o777 == 0o600
        assert variables(dev_env)["APP_URL"] == f"http://localhost:{port}"
        with database(dev_env) as connection:
            connection.execute("CREATE TABLE kept ()")
        checkout = pay_for_something(dev_env)
        authorize_with_stand_ins(dev_env, port)
        key = (tmp_path / "keys" / "private.pem").read_bytes()

        process.send_signal(signal.SIGINT)
        assert process.wait(limit(20)) == 0
    assert listeners(tmp_path, port) == []
    assert not dev_env.exists()

    with started(tmp_path, port) as process:
        wait_until_ready(tmp_path, process)
        with database(dev_env) as connection:
            connection.execute("SELECT FROM kept")
        assert read_standing(dev_env, checkout)["status"] == "paid"
        assert (tmp_path / "keys" / "private.pem").read_bytes() == key

        # A service that dies takes the rest along, with a sentence that names it.
        postmaster = tmp_path / ".parlance" / "postgres" / "postmaster.pid"
        os.kill(int(postmaster.read_text().splitlines()[0]), signal.SIGKILL)
        assert process.wait(limit(20)) == 1
    log = tmp_path / ".parlance" / "logs" / "postgres.log"
    assert f"parlance: PostgreSQL died (by signal 9); its log is {log}\n" in (tmp_path / "output").read_text()
    assert listeners(tmp_path, port) == []


def test_real_accounts_replace_the_stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(CONFIGURED):
            monkeypatch.delenv(name)
    site, file = "http://127.0.0.1:5503", tmp_path / ".env"
    assert not stand_in_plan.payments_are_configured() and not stand_in_plan.identity_providers_are_configured()
    file.write_text("STRIPE_SECRET_KEY=\nRAZORPAY_KEY_ID=rzp_test_real\n")
    assert stand_in_plan.payments_are_configured()
    planned = stand_in_plan.plan(tmp_path, site)
    assert planned and planned.names == ["Google", "Apple", "Keycloak"]
    assert "STRIPE_API_URL" not in planned.environment and planned.environment["APPLE_ISSUER"].endswith("/apple")
    file.write_text("PAYMENT_PROVIDER=razorpay\nAPPLE_CLIENT_IDS_IOS=app.example\n")
    assert not stand_in_plan.payments_are_configured() and stand_in_plan.identity_providers_are_configured()

    planned = stand_in_plan.plan(tmp_path, site)
    assert planned and planned.names == ["Stripe", "Razorpay"]
    assert planned.environment["PAYMENT_PROVIDER"] == "razorpay" and "APPLE_ISSUER" not in planned.environment
    again = stand_in_plan.plan(tmp_path, site)
    assert again and again.dashboard == planned.dashboard
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_real")
    assert stand_in_plan.plan(tmp_path, site) is None


def pay_for_something(dev_env: Path) -> str:
    """Make a checkout session with the keys that the server was given, pay it, answer its id."""
    values = variables(dev_env)
    client = stripe.StripeClient(values["STRIPE_SECRET_KEY"], base_addresses={"api": values["STRIPE_API_URL"]})
    price: Any = {"currency": "inr", "unit_amount": 149_900, "product_data": {"name": "Fluent"}}
    items: Any = [{"price_data": price, "quantity": 1}]
    session = client.v1.checkout.sessions.create(
        {"mode": "payment", "line_items": items, "success_url": "https://app.example/paid"}
    )
    assert session.url
    httpx.post(session.url, data={"action": "pay"}, trust_env=False, timeout=limit(15))
    assert read_standing(dev_env, session.id)["status"] == "paid"
    return session.id


def authorize_with_stand_ins(dev_env: Path, port: int) -> None:
    """Each identity provider is the issuer of the settings, and returns to this server alone."""
    values = variables(dev_env)
    for prefix in ("GOOGLE", "APPLE", "OIDC"):
        issuer = values[f"{prefix}_ISSUER"]
        document = httpx.get(f"{issuer}/.well-known/openid-configuration", trust_env=False, timeout=limit(15)).json()
        assert document["issuer"] == issuer
        asked = {
            "client_id": values[f"{prefix}_CLIENT_IDS_WEB"],
            "redirect_uri": f"http://localhost:{port}/oauth/callback",
            "response_type": "code",
            "response_mode": "form_post",
        }
        for changes, status in (({}, 200), ({"redirect_uri": "http://localhost:1/"}, 400)):
            page = httpx.get(
                document["authorization_endpoint"], params=asked | changes, trust_env=False, timeout=limit(15)
            )
            assert page.status_code == status
    output = (dev_env.parent.parent / "output").read_text()
    assert "(of Stripe, Razorpay, Google, Apple and Keycloak: no money moves, no account is used)" in output
    assert values["GOOGLE_CLIENT_SECRET"] not in output


def read_standing(dev_env: Path, checkout: str) -> dict[str, Any]:
    ledger = f"{variables(dev_env)['STRIPE_API_URL']}/control/ledger/{checkout}"
    standing: dict[str, Any] = httpx.get(ledger, trust_env=False, timeout=limit(15)).json()
    return standing


def variables(dev_env: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in dev_env.read_text().splitlines())


def database(dev_env: Path) -> psycopg.Connection[tuple[object, ...]]:
    values = variables(dev_env)
    return psycopg.connect(
        host=values["DB_HOST"],
        port=values["DB_PORT"],
        user=values["DB_USERNAME"],
        password=values["DB_PASSWORD"],
        dbname=values["DB_NAME"],
        autocommit=True,
    )
