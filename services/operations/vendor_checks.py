"""Checks of `parlance doctor` on vendors and programs: mail, payments, push, TURN and ffmpeg."""

from __future__ import annotations

import asyncio
import os
import re
from email.utils import parseaddr

import errors
from adapters import turn_probe
from adapters.ffmpeg import Ffmpeg
from adapters.mail.resend import ResendMailer
from adapters.payments.razorpay import RazorpayProvider
from adapters.payments.stripe import StripeProvider
from adapters.push import fcm
from adapters.push.google_account import AccountRefused
from adapters.turn import Turn
from services.operations.findings import describe_error, fault, warning
from setting_values import url_host
from settings import Settings

_ENCODERS = ("libx264", "aac")


class VendorChecks:
    """Each check returns a summary where all is well, and raises NotOk otherwise."""

    def __init__(self, settings: Settings, timeout: float) -> None:
        """`timeout` is in seconds."""
        self._settings = settings
        self._timeout = timeout

    async def check_mail(self) -> str:
        settings = self._settings
        if settings.resend_api_key is None:
            directory = settings.mail_directory
            existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
            if not os.access(existing, os.W_OK):
                raise fault(f"{directory} cannot be written", "Set MAIL_DIRECTORY to a directory that this user owns.")
            summary = f"each mail is written to a file in {directory}; none is sent"
            raise warning(summary, "Set RESEND_API_KEY to send mail.")
        try:
            domains = await ResendMailer(settings).domains()
        except PermissionError:
            fix = "Set RESEND_API_KEY to an active key of resend.com/api-keys."
            raise fault("Resend refuses the key", fix) from None
        except Exception as error:
            summary = f"Resend at {settings.resend_api_url} does not answer ({type(error).__name__})"
            raise fault(summary, "Check that this machine reaches it and that RESEND_API_URL is right.") from None
        domain = parseaddr(settings.email_from)[1].rpartition("@")[2]
        if domains is None:
            return "Resend accepts the key, which may send and nothing else"
        if domains.get(domain) != "verified":
            summary = f"Resend accepts the key, but {domain} is {domains.get(domain, 'none of its domains')}"
            raise fault(summary, "Verify it at resend.com/domains, or set EMAIL_FROM to an address of one that is.")
        return f"Resend accepts the key, {domain} is verified"

    async def check_stripe(self) -> str:
        settings = self._settings
        if settings.stripe_secret_key is None:
            return self._without_account("stripe", "STRIPE_SECRET_KEY")
        provider = StripeProvider(settings)
        try:
            return self._payment_account("Stripe", "STRIPE_SECRET_KEY", await provider.accepts_key(), provider.live)
        finally:
            await provider.close()

    async def check_razorpay(self) -> str:
        settings = self._settings
        if settings.razorpay_key_id is None or settings.razorpay_key_secret is None:
            return self._without_account("razorpay", "RAZORPAY_KEY_ID and RAZORPAY_KEY_SECRET")
        provider = RazorpayProvider(settings)
        known = await provider.accepts_key()
        return self._payment_account("Razorpay", "RAZORPAY_KEY_ID and RAZORPAY_KEY_SECRET", known, provider.live)

    def _without_account(self, provider: str, names: str) -> str:
        if provider == self._settings.payment_provider:
            raise warning("no key: no course is sold", f"Set {names} and the secret of its webhooks to sell courses.")
        return "not used"

    def _payment_account(self, name: str, names: str, known: bool, live: bool) -> str:
        if not known:
            raise fault(f"{name} refuses the key", f"Set {names} to the values in its dashboard.")
        if self._settings.is_production and not live:
            raise warning(
                f"{name} accepts the key, which moves no real money",
                f"Set {names} of the live mode.",
            )
        return f"{name} accepts the key, {'real money' if live else 'test mode'}"

    async def check_push(self) -> str:
        settings = self._settings
        account = (settings.firebase_project_id, settings.firebase_client_email, settings.firebase_private_key)
        if not any(account):
            fix = "Set FIREBASE_PROJECT_ID, FIREBASE_CLIENT_EMAIL and FIREBASE_PRIVATE_KEY to send pushes."
            raise warning("no account, so notifications appear in the app alone", fix)
        fix = "Copy project_id, client_email and private_key of one service account's JSON file again."
        if not all(account):
            raise fault("only a part of the account is set", fix)
        try:
            await fcm.try_account(settings)
        except AccountRefused as error:
            raise fault(str(error), fix) from None
        except ValueError:
            raise fault("the private key is unreadable", fix) from None
        except errors.Unavailable as error:
            summary = f"Google does not answer at {settings.firebase_token_url} ({error})"
            raise fault(summary, "Check that this machine reaches it and that FIREBASE_TOKEN_URL is right.") from None
        return f"Google accepts the account of {settings.firebase_project_id}"

    async def check_turn(self) -> str:
        settings = self._settings
        where = f"{url_host(settings.turn_host)}:{settings.turn_port}"
        relayed = Turn(settings).ice_servers("doctor")[-1]
        # A developer's machine needs no relay.
        failure = fault if settings.is_production else warning
        try:
            async with asyncio.timeout(self._timeout / 2):
                relay = await turn_probe.allocate(
                    settings.turn_host, settings.turn_port, relayed["username"], relayed["credential"]
                )
        except turn_probe.RelayRefused as error:
            fix = "Give coturn `use-auth-secret` and a static-auth-secret equal to TURN_SECRET, and check its quota."
            raise fault(f"{where} over UDP: {error}", fix) from None
        except (TimeoutError, OSError) as error:
            reason = describe_error(error) if isinstance(error, OSError) and error.strerror else "no answer"
            fix = "Start coturn with deploy/turnserver.conf, open its UDP port, and set TURN_HOST and TURN_PORT."
            raise failure(f"{where} over UDP: {reason}", fix) from None
        return f"{where} gave our credentials a relay over UDP, {relay}"

    async def check_ffmpeg(self) -> str:
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
            fix = "Leave FFMPEG_PATH empty for the one of the Python packages, or let it name a program."
            raise fault(f"{path}: {error.strerror}", fix) from None
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        encoders = set(re.findall(r"^ [VAS]\S{5} (\S+)", output.decode(errors="replace"), re.M))
        missing = [name for name in _ENCODERS if name not in encoders]
        if missing:
            fix = "Install an ffmpeg that has them, such as Debian's (`apt-get install ffmpeg`)."
            raise fault(f"{path} lacks {' and '.join(missing)}", fix)
        return f"{path} with {' and '.join(_ENCODERS)}"
