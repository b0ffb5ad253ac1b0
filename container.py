"""Construction of services and adapters; everything else gets what it needs as arguments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from adapters import bus as buses
from adapters import error_reports, redis, tasks, tracing
from adapters.database import Database
from adapters.ffmpeg import Ffmpeg
from adapters.identity_providers import build_identity_providers
from adapters.image_screen import HttpImageScreen
from adapters.jobs import Jobs
from adapters.keys import KeyFiles, KeyRing
from adapters.mail.mailbox import Mailbox
from adapters.mail.resend import ResendMailer
from adapters.passkeys import find_relying_party
from adapters.passwords import Passwords
from adapters.payments.razorpay import RazorpayProvider
from adapters.payments.stripe import StripeProvider
from adapters.ports import Bus, IdentityProvider, ImageScreen, Mailer, PaymentProvider, PushSender
from adapters.push.fcm import FcmSender
from adapters.push.log import PushLog
from adapters.rate_limiter import RateLimiter
from adapters.redis_cluster import make_link
from adapters.redis_pipeline import RedisPipeline
from adapters.secret_box import SecretBox, read_keys
from adapters.storage import Storage
from adapters.tokens import LEEWAY_SECONDS, AccessTokens
from adapters.turn import Turn
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.fit import OLDEST_FIRST, FitWeights
from services.calls.goodbyes import Goodbyes
from services.calls.invitation_acceptances import InvitationAcceptances
from services.calls.invitation_checks import InvitationChecks
from services.calls.invitation_ends import InvitationEnds
from services.calls.invitation_notices import InvitationNotices
from services.calls.invitations import InvitationsService
from services.calls.invited_rooms import InvitedRooms
from services.calls.learners_online import LearnersOnline
from services.calls.matchmaking import MatchmakingService
from services.calls.pairing_checks import PairingChecks
from services.calls.pairing_standings import PairingStandings
from services.calls.pools import Pools
from services.calls.poor_lines import PoorLines
from services.calls.reconciliation import Reconciliation
from services.calls.recovery import RecoveryService
from services.calls.room_checks import RoomChecks
from services.calls.rooms import LUA_DIRECTORY, Rooms
from services.calls.search_rounds import SearchRounds
from services.calls.signaling import SignalingService
from services.calls.user_sockets import UserSocketsService
from services.identity.account_deletion import AccountDeletionService
from services.identity.address_claims import AddressClaims
from services.identity.administrators import AdministratorsService
from services.identity.authentication import AuthenticationService
from services.identity.authorizations import AuthorizationsService
from services.identity.data_export import DataExportService
from services.identity.deletion_links import DeletionLinksService
from services.identity.email_changes import EmailChangesService
from services.identity.email_code_logins import EmailCodeLoginsService
from services.identity.email_codes import EmailCodeProofs, EmailCodesService
from services.identity.email_verification import EmailVerificationService
from services.identity.id_tokens import IdTokenProofs, IdTokensService
from services.identity.identities import IdentitiesService
from services.identity.identity_grants import IdentityGrantsService
from services.identity.identity_login import IdentityLoginService
from services.identity.login_methods import LoginMethodsService, LoginOffer, ProviderOffer
from services.identity.login_opening import LoginOpeningService
from services.identity.login_revocations import LoginRevocations
from services.identity.logins import LoginsService
from services.identity.passkey_proofs import PasskeyChallenges, PasskeyProofs
from services.identity.passkeys import PasskeysService
from services.identity.passwords import PasswordsService
from services.identity.profiles import ProfilesService
from services.identity.proofs import PasswordProofs, ProofsService
from services.identity.review_accounts import ReviewAccountsService
from services.identity.second_factors import SecondFactorsService
from services.identity.security_notices import SecurityNoticesService
from services.identity.staff import StaffService
from services.identity.user_directory import UserDirectoryService
from services.learning.courses import CoursesService
from services.learning.lessons import LessonsService
from services.learning.playback import PlaybackService
from services.learning.progress import ProgressService
from services.learning.uploads import UploadsService
from services.learning.videos import VideosService
from services.messaging.notifications import NotificationsService
from services.messaging.push_devices import PushDevicesService
from services.operations.audit import AuditService
from services.operations.dashboard import DashboardService
from services.operations.doctor import DoctorService
from services.operations.health import HealthService
from services.operations.idempotency import IdempotencyService
from services.operations.metrics import MetricsService
from services.operations.pruning import PruningService
from services.operations.retention import RetentionService
from services.payments.checkout import CheckoutService
from services.payments.orders import OrdersService
from services.payments.reconciliation import ReconciliationService
from services.payments.refunds import RefundsService
from services.payments.webhooks import WebhooksService
from services.people.appointment_reminders import AppointmentReminders
from services.people.appointments import AppointmentsService
from services.people.partners import PartnersService
from services.people.presence import PresenceService
from services.safety.ages import AgesService
from services.safety.appeals import AppealsService
from services.safety.barred_identifiers import BarredIdentifiers
from services.safety.blocks import BlocksService
from services.safety.consents import ConsentsService
from services.safety.gates import Gates
from services.safety.holds import HoldRules
from services.safety.pictures import PicturesService
from services.safety.policies import load_policies
from services.safety.profile_scan import ProfileScan
from services.safety.published_policy import build_contact, read_policy
from services.safety.reports import ReportRules, ReportsService
from services.safety.sanctions import SanctionsService
from services.safety.statements import StatementsService
from services.safety.text_filter import TextFilter
from settings import Settings


class Container:
    """Services of one process. A test passes its own `bus`, `storage` and so on in place of the real ones."""

    def __init__(
        self,
        settings: Settings,
        *,
        bus: Bus | None = None,
        storage: Storage | None = None,
        mailer: Mailer | None = None,
        push: PushSender | None = None,
        payment_providers: Mapping[str, PaymentProvider] | None = None,
        image_screen: ImageScreen | None = None,
        identity_providers: Mapping[str, IdentityProvider] | None = None,
    ) -> None:
        self.settings = settings
        #: Set when the process is about to stop: it is not ready, and keeps no HTTP connection open.
        self.stopping = asyncio.Event()
        self.database = Database(settings)
        self._redis_link = link = make_link(settings)
        self.redis = redis.connect(settings, link)
        self._bus_connections = RedisPipeline(settings, buses.LUA, link), RedisPipeline(settings, buses.LUA, link)
        self.scripts = RedisPipeline(settings, LUA_DIRECTORY, link)
        self.bus: Bus = bus or buses.ProcessBus(
            *self._bus_connections, directory=buses.directory(settings), required=settings.bus_directory is not None
        )
        self.rate_limiter = RateLimiter(self.redis, settings.rate_limit_factor)
        self.storage = storage or Storage(settings)
        self.turn = Turn(settings)
        self.jobs = Jobs(settings)
        self._mailer = mailer or (ResendMailer(settings) if settings.resend_api_key else Mailbox(settings))
        self._push = push or (FcmSender(settings) if settings.has_push_account else PushLog())
        self._providers = _build_providers(settings) if payment_providers is None else payment_providers
        self._image_screen = image_screen or (HttpImageScreen(settings) if settings.image_screen_url else None)
        self._identity_providers = (
            build_identity_providers(settings) if identity_providers is None else identity_providers
        )
        self._passwords = Passwords(settings.bcrypt_rounds)
        self._tokens = AccessTokens(
            KeyRing(KeyFiles(settings)),
            issuer=settings.app_url,
            audience=settings.jwt_audience,
            lifetime=settings.jwt_access_expiry,
        )
        self.audit = AuditService(self.database)
        self.policy = read_policy(settings)
        self.text_filter = TextFilter(settings.word_lists_directory, is_on=settings.is_on("text_filter"))
        self.pictures = PicturesService(
            self.database,
            self.audit,
            self.jobs,
            self.storage,
            self._image_screen,
            hide_weight=settings.picture_hide_weight,
            contact=build_contact(settings),
        )
        self.policies = load_policies(settings.policy_directory)
        self.gates = Gates(settings, {policy.name: policy.version for policy in self.policies.values()})
        # In this order: each feature uses those before it.
        self._build_identity()
        self._build_safety()
        self._build_payments()
        self._build_learning()
        self._build_messaging()
        self._build_people()
        self._build_calls()
        self._build_operations()
        #: Loops that run for as long as the server serves.
        self.background: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def _build_identity(self) -> None:
        settings = self.settings
        token_lifetime = settings.jwt_access_expiry + timedelta(seconds=LEEWAY_SECONDS)
        self.login_revocations = LoginRevocations(self.database, self.redis, token_lifetime)
        self.logins = LoginsService(
            self.database,
            self._tokens,
            self.login_revocations,
            refresh_lifetime=settings.jwt_refresh_expiry,
            staff_lifetime=settings.staff_login_expiry,
        )
        self.security_notices = SecurityNoticesService(
            self.database, self.audit, self.jobs, self._mailer, settings.app_url
        )
        secret_box = SecretBox(settings.second_factor_keys)
        self.second_factors = SecondFactorsService(
            self.database,
            self._passwords,
            self.logins,
            self.security_notices,
            self.rate_limiter,
            secret_box,
            required=settings.is_on("staff_second_factor"),
        )
        self.barred_identifiers = BarredIdentifiers(
            self.database, lambda: _read_identifier_keys(settings), settings.retain_barred_addresses_for
        )
        keys = KeyFiles(settings)
        self.email_codes = EmailCodesService(
            self.database,
            self.jobs,
            self._mailer,
            lambda: keys.derive_secret("codes in e-mails"),
            settings.app_url,
            is_offered=settings.email_codes,
        )
        password_proofs = PasswordProofs(self.database, self._passwords)
        id_tokens = IdTokensService(self._identity_providers)
        passkey_challenges = PasskeyChallenges(find_relying_party(settings), self._tokens)
        passkey_proofs = PasskeyProofs(self.database, passkey_challenges)
        self.proofs = ProofsService(
            password_proofs,
            EmailCodeProofs(self.database, self.email_codes, self.rate_limiter),
            passkey_proofs,
            IdTokenProofs(self.database, id_tokens),
        )
        self.login_opening = LoginOpeningService(self.database, self.logins, self.second_factors, passkey_proofs)
        self.identity_grants = IdentityGrantsService(
            self.database, self._identity_providers, self._tokens, secret_box, self.jobs
        )
        self.identity_login = IdentityLoginService(
            self.database,
            id_tokens,
            self.identity_grants,
            self.login_opening,
            password_proofs,
            self.rate_limiter,
            self.security_notices,
            self.jobs,
            self.barred_identifiers,
        )
        self.identities = IdentitiesService(
            self.database, id_tokens, self.identity_grants, self.proofs, self.second_factors, self.security_notices
        )
        self.authorizations = AuthorizationsService(id_tokens, self.identity_grants, self._tokens, settings.app_url)
        self.passkeys = PasskeysService(
            self.database,
            passkey_challenges,
            passkey_proofs,
            self.logins,
            self.login_opening,
            self.second_factors,
            self.security_notices,
        )
        self.authentication = AuthenticationService(
            self.database,
            self._passwords,
            password_proofs,
            self._tokens,
            self.logins,
            self.login_opening,
            self.jobs,
            self.barred_identifiers,
        )
        claims = AddressClaims(self.logins, self.identity_grants, self.security_notices)
        self.email_code_logins = EmailCodeLoginsService(
            self.database, self.email_codes, claims, self.logins, self.login_opening, self.barred_identifiers
        )
        self.passwords = PasswordsService(
            self.database,
            self._passwords,
            self.logins,
            claims,
            self.security_notices,
            self.jobs,
            self._mailer,
            settings.app_url,
        )
        self.email_changes = EmailChangesService(
            self.database,
            self.email_codes,
            self.logins,
            self.identity_grants,
            self.second_factors,
            self.security_notices,
            self.barred_identifiers,
            self.jobs,
            self._mailer,
            lambda: keys.derive_secret("undoing of e-mail changes"),
            settings.app_url,
        )
        self.login_methods = LoginMethodsService(self.database, _build_login_offer(settings, self._identity_providers))
        self.email_verification = EmailVerificationService(self.database, self.jobs, self._mailer, settings.app_url)
        self.administrators = AdministratorsService(
            self.database, self._passwords, self.logins, self.second_factors, self.security_notices, self.audit
        )
        self.staff = StaffService(self.database, self.logins, self.audit)
        self.profiles = ProfilesService(
            self.database,
            self.storage,
            self.jobs,
            self.gates,
            self.text_filter,
            self.pictures,
            settings.picture_hide_weight,
        )
        self.account_deletion = AccountDeletionService(
            self.database, self.logins, self.jobs, self.storage, self.barred_identifiers, self.identity_grants
        )
        self.deletion_links = DeletionLinksService(
            self.database, self.account_deletion, self.logins, self.jobs, self._mailer, settings.app_url
        )
        self.data_export = DataExportService(self.database, self.profiles)

    def _build_safety(self) -> None:
        settings = self.settings
        self.sanctions = SanctionsService(self.database, self.audit, self.logins, self.jobs)
        self.review_accounts = ReviewAccountsService(
            self.database,
            self._passwords,
            self.logins,
            self.identity_grants,
            self.account_deletion,
            self.audit,
            self.sanctions,
            {each.name: each.version for each in self.policies.values()},
            settings.app_url,
        )
        self.appeals = AppealsService(self.database, self.audit, self.sanctions, self.jobs)
        self.statements = StatementsService(self.database, self._mailer, settings.app_url)
        rules = ReportRules(
            flag_weight=settings.report_flag_weight,
            due=settings.report_due,
            urgent_due=settings.report_urgent_due,
            holds=HoldRules(
                lasts=settings.report_hold,
                pause=settings.report_hold_pause,
                reasons=frozenset(settings.report_hold_reasons),
                record_limit=settings.report_record_holds,
            ),
            prune_traits_after=settings.prune_report_traits_after,
            contact=build_contact(settings),
        )
        keys = KeyFiles(settings)
        self.reports = ReportsService(
            self.database, self.audit, self.sanctions, rules, lambda: keys.derive_secret("traits of reporters")
        )
        self.blocks = BlocksService(self.database, settings.picture_hide_weight)
        self.profile_scan = ProfileScan(self.database, self.text_filter)
        self.ages = AgesService(self.database, self.audit, self.jobs, self.storage, settings.minimum_age)
        self.consents = ConsentsService(self.database, self.jobs, self.policies)
        self.pairing_standings = PairingStandings(self.database, self.audit)

    def _build_payments(self) -> None:
        settings = self.settings
        self.checkout = CheckoutService(
            self.database, self._providers, settings.payment_provider, settings.checkout_expiry
        )
        self.orders = OrdersService(self.database)
        self.refunds = RefundsService(self.database, self.jobs, self.audit, self._providers)
        self.reconciliation = ReconciliationService(self.database, self.refunds, self._providers)
        self.webhooks = WebhooksService(self.database, self.redis, self.jobs, self.audit, self._providers)

    def _build_learning(self) -> None:
        settings = self.settings
        self.courses = CoursesService(self.database, self.checkout, self.audit, self.jobs, self.storage)
        self.lessons = LessonsService(self.database, self.audit, self.jobs, self.storage)
        self.progress = ProgressService(self.database)
        self.uploads = UploadsService(
            self.database,
            self.audit,
            self.jobs,
            self.storage,
            max_bytes=settings.video_max_bytes,
            expiry=settings.video_upload_expiry,
        )
        self.videos = VideosService(self.database, self.audit, self.jobs, self.storage, Ffmpeg(settings))
        self.playback = PlaybackService(
            self.database, self.storage, self._tokens, app_url=settings.app_url, margin=settings.video_link_expiry
        )

    def _build_messaging(self) -> None:
        settings = self.settings
        self.user_sockets = UserSocketsService(self.scripts, self.bus, settings.sockets_per_user)
        self.notifications = NotificationsService(
            self.database, self.bus, self.user_sockets, self._push, settings.join_deadline
        )
        self.push_devices = PushDevicesService(self.database)

    def _build_people(self) -> None:
        hide_weight = self.settings.picture_hide_weight
        self.partners = PartnersService(self.database, self.gates, PresenceService(self.scripts), hide_weight)
        self.appointments = AppointmentsService(self.database, self.gates, self.text_filter, hide_weight)
        self.appointment_reminders = AppointmentReminders(self.database, self.gates)

    def _build_calls(self) -> None:
        settings = self.settings
        self.call_history = CallHistoryService(self.database, self.gates, settings.picture_hide_weight)
        self._rooms = rooms = Rooms(
            self.scripts,
            search=settings.search_expiry,
            join=settings.join_deadline,
            grace=settings.reconnect_grace,
            process_loss_grace=settings.process_loss_grace,
            early_leave=settings.early_leave,
            weights=FitWeights() if settings.matching == "fit" else OLDEST_FIRST,
        )
        records = CallRecords(rooms, self.call_history)
        self.pools = Pools(self.database, settings.pairing)
        self.matchmaking = MatchmakingService(
            self.bus,
            self.database,
            rooms,
            self.call_history,
            records,
            self.gates,
            self.text_filter,
            settings.picture_hide_weight,
            pools=self.pools,
        )
        self.matchmaking.on_match_in_background(self.notifications.notify_match)
        invited = InvitedRooms(self.scripts, join=settings.join_deadline)
        self.invitation_ends = InvitationEnds(self.bus, self.database, invited)
        self.matchmaking.on_matched(self.invitation_ends.end_sent)
        hide_weight = settings.picture_hide_weight
        acceptances = InvitationAcceptances(
            *(self.bus, self.database, rooms, invited, self.call_history, records),
            *(self.gates, self.invitation_ends, hide_weight),
        )
        self.invitation_checks = InvitationChecks(self.database, self.invitation_ends, acceptances)
        self.invitation_notices = InvitationNotices(self.database, invited)
        self.invitations = InvitationsService(
            self.database,
            rooms,
            invited,
            self.text_filter,
            self.pools,
            self.rate_limiter,
            self.invitation_ends,
            acceptances,
            expiry=settings.invitation_expiry,
        )
        self.search_rounds = SearchRounds(self.matchmaking, rooms)
        self.learners_online = LearnersOnline(self.scripts, self.bus.process_id)
        self.signaling = SignalingService(self.bus, rooms, records, self.matchmaking)
        self.goodbyes = Goodbyes(rooms, self.database, self.call_history, self.user_sockets)
        self.poor_lines = PoorLines(rooms, self.signaling, self.call_history)
        self.pairing_checks = PairingChecks(self.bus, rooms, records, self.call_history, self.matchmaking)
        checks = RoomChecks(self.bus, rooms, records, self.call_history, self.matchmaking, self.signaling)
        reconciliation = Reconciliation(
            rooms, self.call_history, self.matchmaking, self.signaling, checks, self.bus.process_id
        )
        self.recovery = RecoveryService(
            rooms,
            records,
            self.matchmaking,
            self.signaling,
            reconciliation,
            checks,
            self.invitation_ends,
            self.goodbyes,
        )

    def _build_operations(self) -> None:
        settings = self.settings
        self.idempotency = IdempotencyService(self.redis)
        self.pruning = PruningService(
            self.database,
            notifications_after=settings.prune_notifications_after,
            mailed_tokens_after=settings.prune_mailed_tokens_after,
            webhook_events_after=settings.prune_webhook_events_after,
        )
        self.retention = RetentionService(
            self.database,
            self.audit,
            calls=settings.retain_calls_for,
            reports=settings.retain_reports_for,
            sanctions=settings.retain_sanctions_for,
            audit_detail=settings.retain_audit_detail_for,
        )
        self.user_directory = UserDirectoryService(
            self.database, self.call_history, self.reports, self.orders, self.audit
        )
        self.dashboard = DashboardService(self.database, self.redis, self._rooms)
        self.metrics = MetricsService(
            self.database, self.redis, self.bus, self._rooms, self.matchmaking, self.webhooks, self.call_history
        )
        self.health = HealthService(self.database, self.redis, self.storage, self.stopping)

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        """Start the bus and the background loops for as long as the server serves."""
        await self.bus.start()
        await self.login_revocations.start()
        running = [asyncio.create_task(each()) for each in self.background]
        try:
            yield
        finally:
            await tasks.end(*running)
            await self.login_revocations.stop()
            await self.signaling.forwarding.stop()
            await self.user_sockets.stop()
            await self.metrics.stop()
            await self.bus.stop()
            await self.close()

    async def watch_redis(self) -> None:
        """Leave a Redis that is no longer the primary, until cancelled; the bus of a web process does it itself."""
        await self._redis_link.watch()

    async def close(self) -> None:
        """Close every connection, and send the spans and error reports that are left."""
        self._passwords.close()
        for provider in self._providers.values():
            await provider.close()
        for issuer in self._identity_providers.values():
            await issuer.close()
        await self._push.close()
        if self._image_screen is not None:
            await self._image_screen.close()
        for connection in (self.scripts, *self._bus_connections):
            await connection.close()
        await self.redis.aclose()
        await self._redis_link.close()
        await self.database.close()
        await asyncio.to_thread(tracing.stop)
        await asyncio.to_thread(error_reports.stop)


def _read_identifier_keys(settings: Settings) -> list[bytes]:
    """Return the keys of identifiers' hashes: as set, else one that a rotation of the signing key changes."""
    return read_keys(settings.identifier_hash_keys) or [KeyFiles(settings).derive_secret("identifiers of accounts")]


def _build_login_offer(settings: Settings, providers: Mapping[str, IdentityProvider]) -> LoginOffer:
    """Build what an installation offers; providers that a test passes in have no settings."""
    relying_party = find_relying_party(settings)
    return LoginOffer(
        has_email_codes=settings.email_codes,
        passkey_domain=relying_party.rp_id if relying_party else None,
        providers=[
            ProviderOffer(
                each.provider,
                each.name,
                providers[name].web_client_id is not None,
                {str(platform): ids for platform, ids in each.client_ids.items()},
            )
            for name, each in settings.identity_providers.items()
            if name in providers
        ],
    )


def build_doctor(settings: Settings, revisions: Sequence[str]) -> DoctorService:
    """Build the doctor alone: it examines installations in which a container could not be built."""
    return DoctorService(settings, revisions)


def _build_providers(settings: Settings) -> dict[str, PaymentProvider]:
    """Build the configured payment providers, by name."""
    providers: dict[str, PaymentProvider] = {}
    if settings.stripe_secret_key:
        providers["stripe"] = StripeProvider(settings)
    if settings.razorpay_key_id and settings.razorpay_key_secret:
        providers["razorpay"] = RazorpayProvider(settings)
    return providers
