"""Doctor: checks everything that an installation needs, in the way the product uses it."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import psycopg
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

import errors
from adapters import redis
from adapters.keys import KeyFileError, KeyFiles, is_exposed
from adapters.passkeys import find_relying_party
from adapters.storage import Storage
from adapters.tokens import LEEWAY_SECONDS
from instants import utc_now
from services.operations import startup
from services.operations.findings import Finding, NotOk, describe_error, fault, warning
from services.operations.identity_checks import IdentityChecks
from services.operations.pairing_checks import PairingSettingsCheck
from services.operations.vendor_checks import VendorChecks
from services.safety import policies
from services.safety.word_lists import WordListError, load_word_lists
from settings import GATES, Settings, SettingsError

#: Of each check.
TIMEOUT_SECONDS = 6
#: The oldest PostgreSQL that the product is tested on.
_OLDEST_POSTGRES = 16
#: Accounts that one line names.
_MAX_LISTED_STAFF = 10
#: Less than the leeway of access tokens.
_MAX_CLOCK_SKEW_SECONDS = LEEWAY_SECONDS / 2


class DoctorService:
    def __init__(self, settings: Settings, revisions: Sequence[str], *, timeout: float = TIMEOUT_SECONDS) -> None:
        """`revisions` are all migrations, newest first."""
        self._settings = settings
        self._revisions = revisions
        self._timeout = timeout
        vendors, identities = VendorChecks(settings, timeout), IdentityChecks(settings)
        #: Each returns a summary where all is well, and raises NotOk otherwise.
        self._checks: dict[str, Callable[[], Awaitable[str]]] = {
            "settings": self._check_settings,
            "policy": self._check_policy,
            "holds": self._check_holds,
            "word lists": self._check_word_lists,
            "gates": self._check_gates,
            "pairing": PairingSettingsCheck(settings).check_pairing,
            "keys": self._check_keys,
            "second factors": self._check_second_factors,
            "passkeys": self._check_passkeys,
            "bus": self._check_bus_directory,
            "identifier hashes": self._check_identifier_hashes,
            "database": self._check_database,
            "staff": self._check_staff,
            "migrations": self._check_migrations,
            "redis": self._check_redis,
            "storage": self._check_storage,
            "mail": vendors.check_mail,
            "google": identities.check_google,
            "apple": identities.check_apple,
            "oidc": identities.check_other_issuer,
            "login methods": identities.check_login_methods,
            "stripe": vendors.check_stripe,
            "razorpay": vendors.check_razorpay,
            "push": vendors.check_push,
            "turn": vendors.check_turn,
            "ffmpeg": vendors.check_ffmpeg,
        }

    async def examine(self) -> list[Finding]:
        """Run all checks at the same time; a timeout is a fault."""
        return await asyncio.gather(*(self._examine(name, check) for name, check in self._checks.items()))

    async def _examine(self, name: str, check: Callable[[], Awaitable[str]]) -> Finding:
        try:
            async with asyncio.timeout(self._timeout):
                return Finding(name, "ok", await check())
        except startup.StartupError as error:
            return Finding(name, "fault", error.problem, f"{error.fix[0].upper()}{error.fix[1:]}.")
        except NotOk as found:
            return Finding(name, found.verdict, found.summary, found.fix)
        except TimeoutError:
            summary = f"no answer within {self._timeout:g} seconds"
            return Finding(name, "fault", summary, "Check that it runs and that no firewall is in between.")
        except Exception as error:
            return Finding(name, "fault", describe_error(error), "Check that it runs and that its settings are right.")

    async def _check_settings(self) -> str:
        settings = self._settings
        try:
            settings.require_services()
        except SettingsError as error:
            raise fault(str(error), "Set it in the environment or in .env; .env.example explains each.") from None
        limits = "loose" if settings.rate_limit_factor > 1 else "strict"
        return f"APP_ENV={settings.app_env}, {settings.app_url}, rate limits {limits}"

    async def _check_policy(self) -> str:
        """Check documents and contact: an operator names a contact (DSA art. 11 and 12) and has texts of their own."""
        settings, directory = self._settings, self._settings.policy_directory
        try:
            texts = policies.load_all(directory)
        except policies.PolicyError as error:
            raise fault(
                str(error), "Correct the file, or leave POLICY_DIRECTORY empty for the texts that ship."
            ) from None
        if directory is not None and (unknown := policies.find_unknown_files(directory)):
            fix = f"Name the files after documents: {', '.join(f'{name}.md' for name in texts)}."
            raise warning(f"no document is replaced by {', '.join(unknown)} in {directory}", fix)
        missing = [name for name in ("CONTACT_EMAIL", "CONTACT_ADDRESS") if getattr(settings, name.lower()) is None]
        if settings.is_production and missing:
            summary = f"{' and '.join(missing)} not set: nobody learns whom to write to"
            raise fault(summary, "Set them to the operator's addresses, which /contact publishes (DSA art. 11 and 12).")
        default = [name for name in policies.ACCEPTED if texts[name].is_default]
        if settings.is_production and default:
            summary = f"the texts that ship are in use for {', '.join(default)}"
            raise warning(summary, "Have a lawyer write your own, and name their folder in POLICY_DIRECTORY.")
        contact = settings.contact_email or "not set"
        return f"{len(texts)} documents, minimum age {settings.minimum_age}, contact {contact}"

    async def _check_holds(self) -> str:
        """Check which reports hold pairing: a listed reason lets anybody hold a partner for a day."""
        settings = self._settings
        lasts = f"{settings.report_hold.total_seconds() / 3600:g} h"
        if listed := ", ".join(settings.report_hold_reasons):
            summary = f"one report by anybody for {listed} keeps a learner from being paired for up to {lasts}"
            raise warning(summary, "Leave REPORT_HOLD_REASONS empty, unless your lawyer and trust team decided so.")
        return f"up to {lasts}, by evidence, or by a record: {settings.report_record_holds} learners at one time"

    async def _check_word_lists(self) -> str:
        try:
            lists = load_word_lists(self._settings.word_lists_directory)
        except WordListError as error:
            fix = "Correct the file, or leave WORD_LISTS_DIRECTORY empty for the lists that ship."
            raise fault(str(error), fix) from None
        if not lists.entries:
            raise warning("no list has an entry: nothing is refused", "Add entries, or set TEXT_FILTER=off.")
        return f"{len(lists.entries)} entries in {len(lists.languages)} languages"

    async def _check_gates(self) -> str:
        settings = self._settings
        off = [gate.upper() for gate in GATES if not settings.is_on(gate)]
        if off and settings.is_production:
            raise fault(f"off: {', '.join(off)}", "Set each to on, or leave it out: unset is on in production.")
        return f"off: {', '.join(off)}" if off else "all on"

    async def _check_keys(self) -> str:
        files = KeyFiles(self._settings)
        try:
            key_id, published = files.signing_key().kid, files.published()
        except KeyFileError as error:
            fix = "Run `parlance keys generate`, or point JWT_PRIVATE_KEY_PATH and JWT_PUBLIC_KEY_PATH to the pair."
            raise fault(str(error), fix) from None
        found = files.private_path.stat()
        mode = stat.S_IMODE(found.st_mode)
        if is_exposed(found, os.geteuid()):
            summary = f"{files.private_path} has mode {mode:04o}: other users of this machine may read it"
            raise fault(summary, f"Run `chmod 600 {files.private_path}`, and `parlance keys rotate` if they did.")
        return f"{key_id} signs, mode {mode:04o}, {len(published)} published"

    async def _check_second_factors(self) -> str:
        settings = self._settings
        required = "required of staff" if settings.is_on("staff_second_factor") else "not required"
        if settings.second_factor_keys is not None:
            return f"{required}, secrets are encrypted"
        summary = f"{required}, SECOND_FACTOR_KEYS is not set: their secrets are stored unencrypted"
        if settings.is_production:
            raise warning(summary, "Set it on all hosts to the output of `openssl rand -hex 32`; used secrets follow.")
        return summary

    async def _check_passkeys(self) -> str:
        """Name the RP ID and the origins whose pages and apps use passkeys: with a wrong one each answer is refused."""
        settings = self._settings
        relying_party = find_relying_party(settings)
        if relying_party is None:
            summary = "not offered: the host of APP_URL is an IP address"
            if settings.is_production:
                raise warning(summary, "Give the service a domain: passkeys belong to one.")
            return summary
        summary = f"RP ID {relying_party.rp_id}, origins {', '.join(relying_party.origins)}"
        if settings.app_url not in relying_party.origins and settings.app_env != "development":
            fix = "Set PASSKEY_RP_ID to the host of APP_URL or a domain above it, or leave it empty."
            raise warning(f"{summary}: pages of {settings.app_url} have no passkeys", fix)
        return summary

    async def _check_identifier_hashes(self) -> str:
        if self._settings.identifier_hash_keys is not None:
            return "IDENTIFIER_HASH_KEYS is set"
        summary = "IDENTIFIER_HASH_KEYS is not set: a rotation of the signing key lets banned addresses in again"
        if self._settings.is_production:
            raise warning(summary, "Set it on all hosts to the output of `openssl rand -hex 32`, before the first ban.")
        return summary

    async def _check_staff(self) -> str:
        """List staff without a second factor: with the password alone, who logs in first enrolls one."""
        statement = (
            "SELECT email FROM users LEFT JOIN second_factors ON user_id = users.id AND enrolled_at IS NOT NULL"
            " WHERE role <> 'student' AND user_id IS NULL"
            " AND NOT EXISTS (SELECT FROM passkeys WHERE passkeys.user_id = users.id) ORDER BY email"
        )
        async with self._database() as connection:
            if await (await connection.execute("SELECT to_regclass('passkeys')")).fetchone() == (None,):
                return "not examined: migrations are pending"
            without = [row[0] for row in await (await connection.execute(statement)).fetchall()]
        if without and self._settings.is_on("staff_second_factor"):
            listed = ", ".join(without[:_MAX_LISTED_STAFF]) + (", and more" if len(without) > _MAX_LISTED_STAFF else "")
            summary = f"{len(without)} without a second factor: {listed}"
            raise warning(summary, "Let each log in at /admin-ui and set one up at once, or demote the account.")
        return f"{len(without)} without a second factor"

    async def _check_bus_directory(self) -> str:
        startup.check_bus_directory(self._settings)
        directory = self._settings.bus_directory
        return f"BUS_DIRECTORY {directory}" if directory else "BUS_DIRECTORY is not set: a temporary directory is used"

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """Connect to PostgreSQL; raise StartupError where that is not possible."""
        if self._settings.db_host is None:
            raise fault("DB_HOST is not set", "Set DB_HOST, or start `parlance dev`, which starts its own.")
        async with startup.open_database(self._settings) as connection:
            yield connection

    async def _check_database(self) -> str:
        settings = self._settings
        async with self._database() as connection:
            version = str(connection.info.server_version // 10_000)
            asked = time.time()
            row = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
            answered = time.time()
        database_time: datetime = row[0] if row else utc_now()
        summary = f"PostgreSQL {version} at {settings.database_address}, database {settings.db_name}"
        if int(version) < _OLDEST_POSTGRES:
            raise warning(summary, f"Use PostgreSQL {_OLDEST_POSTGRES} or newer: older ones are not tested.")
        skew = max(asked - database_time.timestamp(), database_time.timestamp() - answered)
        if skew > _MAX_CLOCK_SKEW_SECONDS:
            fix = "Let NTP (chrony, systemd-timesyncd) set the clocks of both: clock skew makes tokens invalid."
            raise fault(f"the clock of this machine is {skew:.0f} s off the clock of PostgreSQL", fix)
        return summary

    async def _check_migrations(self) -> str:
        run = "Run `parlance migrations upgrade`."
        async with self._database() as connection:
            current = await startup.current_revision(connection)
        if current is None:
            raise fault("no migration has been run", run)
        if current not in self._revisions:
            summary = startup.describe_newer_schema(current, self._revisions)
            raise warning(summary, "Finish the roll-out of that release; until then this one works with its schema.")
        pending = self._revisions.index(current)
        if pending:
            raise fault(startup.describe_older_schema(self._settings, pending, self._revisions), run)
        return f"at the newest, {current}"

    async def _check_redis(self) -> str:
        settings = self._settings
        if settings.redis is None:
            raise fault(
                "REDIS_HOST is not set", "Set REDIS_HOST or REDIS_URL, or start `parlance dev`, which starts its own."
            )
        await startup.check_redis(settings)
        where = settings.redis_address
        client = redis.connect(settings)
        try:
            info = await client.info("everything")
            saves = bool(info.get("aof_enabled")) or await _is_saved_to_disk(client)
        except (RedisError, OSError) as error:
            fix = "Check that Redis runs there and that its settings are right."
            raise fault(f"Redis at {where} cannot be used: {describe_error(error)}", fix) from None
        finally:
            await client.aclose()
        name = "Valkey" if "valkey_version" in info else "Redis"
        summary = f"{name} {info.get('valkey_version', info['redis_version'])} at {where}"
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            summary += f", maxmemory-policy {policy}: rooms and searches may be evicted"
            raise fault(summary, "Set `maxmemory-policy noeviction` in its configuration.")
        if not saves:
            summary += ", noeviction, not persistent"
            raise warning(summary, "Set `appendonly yes`, so that searches and calls survive a restart.")
        return f"{summary}, noeviction, persistent"

    async def _check_storage(self) -> str:
        settings = self._settings
        if settings.storage_endpoint is None:
            fix = "Set STORAGE_ENDPOINT, or start `parlance dev`, which starts its own."
            raise fault("STORAGE_ENDPOINT is not set", fix)
        await startup.check_storage(settings)
        storage = Storage(settings)
        where = f"{settings.storage_endpoint}, bucket {storage.bucket}"
        try:
            await storage.probe()
        except errors.Unavailable as error:
            fix = "Allow the key of STORAGE_ACCESS_KEY to put, get and delete objects of this bucket."
            raise fault(f"{where}: an object cannot be written and read ({error.detail})", fix) from None
        return f"{where}, region {settings.storage_region}: an object was written, read and removed"


async def _is_saved_to_disk(client: Redis) -> bool:
    """Return whether Redis takes snapshots; True if it refuses CONFIG, as managed ones do."""
    try:
        return bool((await client.config_get("save")).get("save"))
    except ResponseError:
        return True
