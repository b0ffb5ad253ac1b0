"""Owns what an installation needs to work: each thing looked at as the product will use it, and how to mend it."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import Literal

import psycopg
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

import errors
from adapters import redis, turn_probe
from adapters.ffmpeg import Ffmpeg
from adapters.keys import KeyFileError, KeyFiles
from adapters.mail.resend import ResendMailer
from adapters.payments.razorpay import RazorpayProvider
from adapters.payments.stripe import StripeProvider
from adapters.push import fcm
from adapters.storage import Storage
from adapters.tokens import LEEWAY_SECONDS
from adapters.turn import Turn
from services.operations import startup
from setting_values import url_host
from settings import Settings, SettingsError

#: Seconds that each check has.
TIMEOUT = 6
#: The oldest PostgreSQL that the product is tested on.
_POSTGRES = 16
#: Seconds that clocks may differ: less than access tokens forgive.
_CLOCKS = LEEWAY_SECONDS / 2
_ENCODERS = ("libx264", "aac")

Verdict = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw; `mend` is what to do about it, None where all is well."""

    check: str
    verdict: Verdict
    saw: str
    mend: str | None = None


class _Found(Exception):
    """Ends a check with what it found."""

    def __init__(self, verdict: Verdict, saw: str, mend: str) -> None:
        self.verdict, self.saw, self.mend = verdict, saw, mend


def _fault(saw: str, mend: str) -> _Found:
    return _Found("fault", saw, mend)


def _warning(saw: str, mend: str) -> _Found:
    return _Found("warning", saw, mend)


class DoctorService:
    def __init__(self, settings: Settings, revisions: Sequence[str], *, timeout: float = TIMEOUT) -> None:
        """`revisions` are all migrations, newest first."""
        self._settings = settings
        self._revisions = revisions
        self._timeout = timeout
        #: Each answers what it saw where all is well, and raises _Found otherwise.
        self._checks: dict[str, Callable[[], Awaitable[str]]] = {
            "settings": self._look_at_settings,
            "keys": self._look_at_keys,
            "bus": self._look_at_bus_directory,
            "database": self._ask_database,
            "migrations": self._ask_for_migrations,
            "redis": self._ask_redis,
            "storage": self._ask_storage,
            "mail": self._ask_mail,
            "stripe": self._ask_stripe,
            "razorpay": self._ask_razorpay,
            "push": self._ask_push,
            "turn": self._ask_turn,
            "ffmpeg": self._run_ffmpeg,
        }

    async def examine(self) -> list[Finding]:
        """Look at everything at once; a check that gets no answer in time is a fault."""
        return await asyncio.gather(*(self._examine(name, check) for name, check in self._checks.items()))

    async def _examine(self, name: str, check: Callable[[], Awaitable[str]]) -> Finding:
        try:
            async with asyncio.timeout(self._timeout):
                return Finding(name, "ok", await check())
        except startup.StartupError as error:
            return Finding(name, "fault", error.saw, f"{error.mend[0].upper()}{error.mend[1:]}.")
        except _Found as found:
            return Finding(name, found.verdict, found.saw, found.mend)
        except TimeoutError:
            saw = f"no answer within {self._timeout:g} seconds"
            return Finding(name, "fault", saw, "See whether it runs, and whether a firewall is in between.")
        except Exception as error:
            return Finding(name, "fault", _words(error), "See whether it runs, and whether its settings are right.")

    async def _look_at_settings(self) -> str:
        settings = self._settings
        try:
            settings.require_services()
        except SettingsError as error:
            raise _fault(str(error), "Set it in the environment or in .env; .env.example explains each.") from None
        limits = "loose" if settings.rate_limit_factor > 1 else "strict"
        return f"APP_ENV={settings.app_env}, {settings.app_url}, rate limits {limits}"

    async def _look_at_keys(self) -> str:
        files = KeyFiles(self._settings)
        try:
            key_id, published = files.signing_key().kid, files.published()
        except KeyFileError as error:
            mend = "Run `parlance keys generate`, or point JWT_PRIVATE_KEY_PATH and JWT_PUBLIC_KEY_PATH to the pair."
            raise _fault(str(error), mend) from None
        mode = stat.S_IMODE(files.private_path.stat().st_mode)
        if mode & 0o077:
            saw = f"{files.private_path} has mode {mode:04o}: others of this machine may read it"
            raise _fault(saw, f"Run `chmod 600 {files.private_path}`, and `parlance keys rotate` if others were here.")
        return f"{key_id} signs, mode {mode:04o}, {len(published)} published"

    async def _look_at_bus_directory(self) -> str:
        startup.check_bus_directory(self._settings)
        directory = self._settings.bus_directory
        return f"BUS_DIRECTORY {directory}" if directory else "BUS_DIRECTORY is not set: a temporary directory is used"

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """Connect to PostgreSQL; raise StartupError where that is not possible."""
        if self._settings.db_host is None:
            raise _fault("DB_HOST is not set", "Set DB_HOST, or start `parlance dev`, which brings its own.")
        async with startup.database(self._settings) as connection:
            yield connection

    async def _ask_database(self) -> str:
        settings = self._settings
        async with self._database() as connection:
            version = str(connection.info.server_version // 10_000)
            asked = time.time()
            row = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
            answered = time.time()
        told: datetime = row[0] if row else datetime.now(UTC)
        saw = f"PostgreSQL {version} at {settings.database_address}, database {settings.db_name}"
        if int(version) < _POSTGRES:
            raise _warning(saw, f"Use PostgreSQL {_POSTGRES} or newer: older ones are not tested.")
        off = max(asked - told.timestamp(), told.timestamp() - answered)
        if off > _CLOCKS:
            mend = (
                "Let NTP (chrony, systemd-timesyncd) set the clocks of both: workers refuse each other's access tokens."
            )
            raise _fault(f"the clock here is {off:.0f} s off the clock of PostgreSQL", mend)
        return saw

    async def _ask_for_migrations(self) -> str:
        run = "Run `parlance migrations upgrade`."
        async with self._database() as connection:
            current = await startup.current_revision(connection)
        if current is None:
            raise _fault("no migration has ever run", run)
        if current not in self._revisions:
            saw = f"the database is at {current}, which this release does not know"
            raise _warning(saw, "Deploy the newer release that made it, unless that is under way.")
        pending = self._revisions.index(current)
        if pending:
            raise _fault(f"{pending} of {len(self._revisions)} migrations have not run", run)
        return f"at the newest, {current}"

    async def _ask_redis(self) -> str:
        settings = self._settings
        if settings.redis_host is None:
            raise _fault("REDIS_HOST is not set", "Set REDIS_HOST, or start `parlance dev`, which brings its own.")
        await startup.check_redis(settings)
        where = settings.redis_address
        client = redis.connect(settings)
        try:
            told = await client.info("everything")
            saves = bool(told.get("aof_enabled")) or await _takes_snapshots(client)
        except (RedisError, OSError) as error:
            mend = "See whether Redis runs there, and whether REDIS_HOST, REDIS_PORT and REDIS_PASSWORD are right."
            raise _fault(f"Redis at {where} cannot be used: {_words(error)}", mend) from None
        finally:
            await client.aclose()
        name = "Valkey" if "valkey_version" in told else "Redis"
        saw = f"{name} {told.get('valkey_version', told['redis_version'])} at {where}"
        policy = told.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            saw += f", maxmemory-policy {policy}: rooms and searches may vanish"
            raise _fault(saw, "Set `maxmemory-policy noeviction` in its configuration.")
        if not saves:
            saw += ", noeviction, nothing kept on disk"
            raise _warning(saw, "Set `appendonly yes`, so that a restart ends no search and no call.")
        return f"{saw}, noeviction, kept on disk"

    async def _ask_storage(self) -> str:
        settings = self._settings
        if settings.storage_endpoint is None:
            mend = "Set STORAGE_ENDPOINT, or start `parlance dev`, which brings its own."
            raise _fault("STORAGE_ENDPOINT is not set", mend)
        await startup.check_storage(settings)
        storage = Storage(settings)
        where = f"{settings.storage_endpoint}, bucket {storage.bucket}"
        try:
            await storage.probe()
        except errors.Unavailable as error:
            mend = "Let the key of STORAGE_ACCESS_KEY put, get and delete objects of this bucket."
            raise _fault(f"{where}: an object cannot be written and read ({error.detail})", mend) from None
        return f"{where}, region {settings.storage_region}: an object was written, read and removed"

    async def _ask_mail(self) -> str:
        settings = self._settings
        if settings.resend_api_key is None:
            directory = settings.mail_directory
            there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
            if not os.access(there, os.W_OK):
                raise _fault(f"{directory} cannot be written", "Set MAIL_DIRECTORY to a directory of this user's.")
            saw = f"each mail is a file in {directory}; none leaves the house"
            raise _warning(saw, "Set RESEND_API_KEY to send mail to people.")
        try:
            domains = await ResendMailer(settings).domains()
        except PermissionError:
            mend = "Set RESEND_API_KEY to a key of resend.com/api-keys that is still there."
            raise _fault("Resend refuses the key", mend) from None
        except Exception as error:
            saw = f"Resend at {settings.resend_api_url} does not answer ({type(error).__name__})"
            raise _fault(saw, "See whether this machine reaches it, and whether RESEND_API_URL is right.") from None
        domain = parseaddr(settings.email_from)[1].rpartition("@")[2]
        if domains is None:
            return "Resend takes the key, which may send and nothing else"
        if domains.get(domain) != "verified":
            saw = f"Resend takes the key, but {domain} is {domains.get(domain, 'none of its domains')}"
            raise _fault(saw, "Verify it at resend.com/domains, or set EMAIL_FROM to an address of one that is.")
        return f"Resend takes the key, {domain} is verified"

    async def _ask_stripe(self) -> str:
        settings = self._settings
        if settings.stripe_secret_key is None:
            return self._without_account("stripe", "STRIPE_SECRET_KEY")
        provider = StripeProvider(settings)
        try:
            return self._payment_account("Stripe", "STRIPE_SECRET_KEY", await provider.knows_us(), provider.live)
        finally:
            await provider.close()

    async def _ask_razorpay(self) -> str:
        settings = self._settings
        if settings.razorpay_key_id is None or settings.razorpay_key_secret is None:
            return self._without_account("razorpay", "RAZORPAY_KEY_ID and RAZORPAY_KEY_SECRET")
        provider = RazorpayProvider(settings)
        known = await provider.knows_us()
        return self._payment_account("Razorpay", "RAZORPAY_KEY_ID and RAZORPAY_KEY_SECRET", known, provider.live)

    def _without_account(self, provider: str, names: str) -> str:
        if provider == self._settings.payment_provider:
            raise _warning("no key, so nothing is sold", f"Set {names} and the secret of its webhooks to sell courses.")
        return "not used"

    def _payment_account(self, name: str, names: str, known: bool, live: bool) -> str:
        if not known:
            raise _fault(f"{name} refuses the key", f"Set {names} to what its dashboard shows.")
        if self._settings.is_production and not live:
            raise _warning(f"{name} takes the key, which moves no real money", f"Set {names} of the live mode.")
        return f"{name} takes the key, {'real money' if live else 'test mode'}"

    async def _ask_push(self) -> str:
        settings = self._settings
        account = (settings.firebase_project_id, settings.firebase_client_email, settings.firebase_private_key)
        if not any(account):
            mend = "Set FIREBASE_PROJECT_ID, FIREBASE_CLIENT_EMAIL and FIREBASE_PRIVATE_KEY to send pushes."
            raise _warning("no account, so users are told in the app alone", mend)
        mend = "Copy project_id, client_email and private_key of one service account's JSON file again."
        if not all(account):
            raise _fault("only a part of the account is set", mend)
        try:
            await fcm.try_account(settings)
        except fcm.AccountRefused as error:
            raise _fault(str(error), mend) from None
        except ValueError:
            raise _fault("the private key is unreadable", mend) from None
        except errors.Unavailable as error:
            saw = f"Google does not answer at {settings.firebase_token_url} ({error})"
            raise _fault(saw, "See whether this machine reaches it, and whether FIREBASE_TOKEN_URL is right.") from None
        return f"Google takes the account of {settings.firebase_project_id}"

    async def _ask_turn(self) -> str:
        settings = self._settings
        where = f"{url_host(settings.turn_host)}:{settings.turn_port}"
        relayed = Turn(settings).ice_servers("doctor")[-1]
        # A relay is no part of a developer's machine.
        miss = _fault if settings.is_production else _warning
        try:
            async with asyncio.timeout(self._timeout / 2):
                relay = await turn_probe.allocate(
                    settings.turn_host, settings.turn_port, relayed["username"], relayed["credential"]
                )
        except turn_probe.RelayRefused as error:
            mend = "Give coturn `use-auth-secret` and a static-auth-secret equal to TURN_SECRET, and look at its quota."
            raise _fault(f"{where} over UDP: {error}", mend) from None
        except (TimeoutError, OSError) as error:
            reason = _words(error) if isinstance(error, OSError) and error.strerror else "no answer"
            mend = "Start coturn with deploy/turnserver.conf, open its UDP port, and set TURN_HOST and TURN_PORT."
            raise miss(f"{where} over UDP: {reason}", mend) from None
        return f"{where} gave our credentials a relay over UDP, {relay}"

    async def _run_ffmpeg(self) -> str:
        path = await asyncio.to_thread(lambda: Ffmpeg(self._settings).program)
        try:
            process = await asyncio.create_subprocess_exec(
                path,
                *("-hide_banner", "-encoders"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            mend = "Leave FFMPEG_PATH empty for the one of the Python packages, or let it name a program."
            raise _fault(f"{path}: {error.strerror}", mend) from None
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        encoders = set(re.findall(r"^ [VAS]\S{5} (\S+)", output.decode(errors="replace"), re.M))
        missing = [name for name in _ENCODERS if name not in encoders]
        if missing:
            mend = "Install an ffmpeg that has them, such as Debian's (`apt-get install ffmpeg`)."
            raise _fault(f"{path} lacks {' and '.join(missing)}", mend)
        return f"{path} with {' and '.join(_ENCODERS)}"


async def _takes_snapshots(client: Redis) -> bool:
    """Whether Redis saves at times; taken for granted where it does not tell, as managed ones."""
    try:
        return bool((await client.config_get("save")).get("save"))
    except ResponseError:
        return True


def _words(error: BaseException | None) -> str:
    """An error's own words on one line, short, and without what libraries add."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"
