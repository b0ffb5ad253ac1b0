"""A deployment that logs all it can, with canaries: secrets that must not be in its log."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from settings import Settings
from testing.containers import load_settings
from testing.databases import own_database
from testing.email_outbox import ResendStandIn
from testing.polling import eventually
from testing.ports import free_port
from testing.servers import address, http_client, start_server, stop_server
from testing.shop import run_job_worker
from testing.telemetry_receivers import Collector, SentryStandIn, receiving

#: Long enough to be nobody's but ours, and the same in JSON, in a URL and in a traceback.
CANARY = "canary"


def new_canary(name: str) -> str:
    return f"{CANARY}-{name}-{secrets.token_hex(12)}"


@dataclass
class Deployment:
    """A server and a worker of one deployment that log all they can, and the secrets that went through them."""

    url: str
    own: Settings
    logs: list[Path]
    resend: ResendStandIn
    collector: Collector
    sentry: SentryStandIn
    #: What must not be found, by what it is.
    planted: dict[str, str] = field(default_factory=dict)

    def log(self) -> str:
        return "\n".join(path.read_text() for path in self.logs)

    def telemetry(self) -> str:
        """All spans and error reports."""
        return "\n".join([*map(str, self.collector.requests), *(body.decode() for body in self.sentry.bodies)])

    def plant(self, name: str, value: str) -> str:
        assert len(value) >= 20, f"{name} is too short to be found among other text"
        self.planted[f"{name} {len(self.planted)}"] = value
        return value

    @property
    def cookie_name(self) -> str:
        return "__Host-refresh_token" if self.own.is_production else "refresh_token"

    def password(self) -> str:
        return self.plant("password", new_canary("password"))

    def tokens(self, answer: httpx.Response) -> dict[str, Any]:
        """Plant the tokens of an answer, and what the database keeps of them."""
        body: dict[str, Any] = answer.json()
        _, claims, signature = body["accessToken"].split(".")
        self.plant("claims of an access token", claims)
        self.plant("signature of an access token", signature)
        refresh = body.get("refreshToken") or read_cookie(answer)
        self.plant("refresh token", refresh)
        self.plant("hash of a refresh token", hash_token(refresh))
        return {**body, "refreshToken": refresh}

    async def mailed(self, email: str, page: str) -> str:
        """Wait for the link to `page` that is mailed to an address; plant its token."""

        def tokens() -> list[str]:
            texts = [body["text"] for _, body in self.resend.requests if body["to"] == [email]]
            return [found[1] for text in texts if (found := re.search(rf"/{page}\?token=([\w-]+)", text))]

        token = self.plant(f"{page} token", (await eventually(tokens, within=20, what=f"a mail to {page}"))[-1])
        self.plant(f"hash of a {page} token", hash_token(token))
        return token


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def read_cookie(answer: httpx.Response) -> str:
    return answer.headers["set-cookie"].partition("=")[2].partition(";")[0]


@asynccontextmanager
async def visitor(deployment: Deployment) -> AsyncIterator[httpx.AsyncClient]:
    """A client from an address of its own."""
    async with http_client(deployment.url, headers={"X-Forwarded-For": address()}) as http:
        yield http


def credentials(email: str, password: str, platform: str = "ios") -> dict[str, str]:
    return {"email": email, "password": password, "deviceId": f"on {platform}".replace(" ", "-"), "platform": platform}


@contextmanager
def deploy_with_canaries(
    app_env: str, environment: dict[str, str], settings: Settings, resend_api: ResendStandIn, directory: Path
) -> Iterator[Deployment]:
    """In production lines are JSON and most requests are answered by the fast path; in the other, neither."""
    production = app_env == "production"
    keys = {
        "TURN_SECRET": new_canary("turn"),
        "RESEND_API_KEY": new_canary("resend"),
        "STRIPE_SECRET_KEY": f"sk_live_{new_canary('stripe')}",
        "STRIPE_WEBHOOK_SECRET": f"whsec_{new_canary('stripe webhook')}",
        "RAZORPAY_KEY_SECRET": new_canary("razorpay"),
        "RAZORPAY_WEBHOOK_SECRET": new_canary("razorpay webhook"),
        "OTEL_EXPORTER_OTLP_HEADERS": new_canary("collector"),
    }
    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    collector, sentry = Collector(), SentryStandIn()
    with own_database(settings) as own, receiving(collector), receiving(sentry):
        variables = {
            **environment,
            **keys,
            **collector.environment,
            **sentry.environment,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={keys['OTEL_EXPORTER_OTLP_HEADERS']}",
            "DB_NAME": own.db_name,
            "APP_ENV": app_env,
            **({"APP_URL": "https://parlance.example"} if production else {}),
            "LOG_LEVEL": "debug",
            # Learners that have shown nothing write their profiles and talk.
            **dict.fromkeys(("AGE_GATE", "TERMS_GATE", "EMAIL_GATE"), "off"),
            "BCRYPT_ROUNDS": "12" if production else "4",
            "REST_FAST_PATH": str(production).lower(),
            # Where nobody listens.
            "STRIPE_API_URL": f"http://127.0.0.1:{free_port()}",
            "RAZORPAY_API_URL": f"http://127.0.0.1:{free_port()}",
            "RAZORPAY_KEY_ID": "rzp_live_key",
            "FIREBASE_PROJECT_ID": "parlance-canary",
            "FIREBASE_CLIENT_EMAIL": "push@parlance.example",
            "FIREBASE_PRIVATE_KEY": pem.decode().replace("\n", "\\n"),
            "FIREBASE_API_URL": f"http://127.0.0.1:{free_port()}",
            "FIREBASE_TOKEN_URL": f"http://127.0.0.1:{free_port()}/token",
            "RESEND_API_URL": f"http://127.0.0.1:{resend_api.server_address[1]}",
        }
        own = load_settings(variables)
        logs = [directory / "server.log", directory / "worker.log"]
        with run_job_worker(variables, logs[1]):
            server = start_server(variables, logs[0], workers=1)
            made = Deployment(server.url, own, logs, resend_api, collector, sentry)
            for name, value in keys.items():
                made.plant(name, value)
            made.plant("DB_PASSWORD", own.db_password.get_secret_value())
            made.plant("STORAGE_SECRET_KEY", own.storage_secret_key.get_secret_value())
            for line in pem.decode().splitlines()[1:-1]:
                if len(line) >= 20:
                    made.plant("line of the key of Firebase", line)
            for line in own.jwt_private_key_path.read_text().splitlines():
                if len(line) >= 40 and "KEY" not in line:
                    made.plant("line of the private key", line)
            try:
                yield made
            finally:
                stop_server(server)
