"""The only place that constructs services and adapters. Everything else is handed what it needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from adapters import bus as buses
from adapters import redis
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.keys import KeyFiles, KeyRing
from adapters.mail.mailbox import Mailbox
from adapters.mail.resend import ResendMailer
from adapters.passwords import Passwords
from adapters.ports import Bus, Mailer
from adapters.rate_limiter import RateLimiter
from adapters.scripts import Scripts
from adapters.storage import Storage
from adapters.tokens import LEEWAY, AccessTokens
from adapters.turn import Turn
from services.admins import AdminsService
from services.audit import AuditService
from services.auth import AuthService
from services.bans import BansService
from services.blocks import BlocksService
from services.demo import DemoService
from services.health import HealthService
from services.matchmaking import MatchmakingService
from services.privacy import PrivacyService
from services.reports import ReportsService
from services.revocations import Revocations
from services.rooms import LUA, Rooms
from services.sessions import SessionsService
from services.sign_ins import SignInsService
from services.signaling import SignalingService
from services.users import UsersService
from settings import Settings


class Container:
    """One process's services. A test passes its own `bus`, `storage` and so on in place of the real ones."""

    def __init__(
        self,
        settings: Settings,
        *,
        bus: Bus | None = None,
        storage: Storage | None = None,
        mailer: Mailer | None = None,
    ) -> None:
        self.settings = settings
        self.database = Database(settings)
        self.redis = redis.connect(settings)
        self._bus_connections = Scripts(settings, buses.LUA), Scripts(settings, buses.LUA)
        self.scripts = Scripts(settings, LUA)
        self.bus: Bus = bus or buses.WorkerBus(
            *self._bus_connections, directory=buses.directory(settings), required=settings.bus_directory is not None
        )
        self.rate_limiter = RateLimiter(self.redis)
        self.storage = storage or Storage(settings)
        self.turn = Turn(settings)

        self.jobs = Jobs(settings)
        mailer = mailer or (ResendMailer(settings) if settings.resend_api_key else Mailbox(settings))
        self._passwords = Passwords(settings.bcrypt_rounds)
        tokens = AccessTokens(
            KeyRing(KeyFiles(settings)),
            issuer=settings.app_url,
            audience=settings.jwt_audience,
            lifetime=settings.jwt_access_expiry,
        )
        token_lifetime = settings.jwt_access_expiry + timedelta(seconds=LEEWAY)
        self.revocations = Revocations(self.database, self.redis, token_lifetime)
        self.sign_ins = SignInsService(self.database, tokens, self.revocations, settings.jwt_refresh_expiry)
        self.auth = AuthService(
            self.database, self._passwords, tokens, self.sign_ins, self.jobs, mailer, settings.app_url
        )
        self.audit = AuditService(self.database)
        self.admins = AdminsService(self.database, self._passwords, self.sign_ins, self.audit)
        self.bans = BansService(self.database, self.audit, self.sign_ins)
        self.reports = ReportsService(self.database, self.audit, self.bans)
        self.blocks = BlocksService(self.database)
        self.demo = DemoService(self.database, self._passwords, self.audit, self.bans)
        self.users = UsersService(self.database, self.storage, self.jobs)
        self.privacy = PrivacyService(
            self.database, self._passwords, self.sign_ins, self.users, self.jobs, self.storage
        )
        self.sessions = SessionsService(self.database)
        rooms = Rooms(self.scripts)
        self.matchmaking = MatchmakingService(self.database, rooms, self.sessions)
        self.signaling = SignalingService(self.bus, rooms, self.sessions)
        self.health = HealthService(self.database, self.redis, self.storage)

    @asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        """Open what needs opening for as long as the server serves."""
        await self.bus.start()
        await self.revocations.start()
        try:
            yield
        finally:
            await self.revocations.stop()
            await self.bus.stop()
            await self.close()

    async def close(self) -> None:
        """Close every connection."""
        self._passwords.close()
        for connection in (self.scripts, *self._bus_connections):
            await connection.close()
        await self.redis.aclose()
        await self.database.close()
