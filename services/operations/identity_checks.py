"""Checks of `parlance doctor` on identity providers, and on the ways to log in together."""

from __future__ import annotations

import errors
from adapters.identity_providers import probing
from adapters.passkeys import find_relying_party
from identity_settings import ProviderSettings
from services.operations.findings import fault, warning
from settings import Settings

_CALLBACK_PATH = "/oauth/callback"


class IdentityChecks:
    """Each check returns a summary where all is well, and raises NotOk otherwise."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def check_google(self) -> str:
        return await self._check("google", "GOOGLE")

    async def check_apple(self) -> str:
        summary = await self._check("apple", "APPLE")
        configured = self._settings.identity_providers.get("apple")
        if configured is not None and configured.apple_key is None:
            fix = "Set APPLE_TEAM_ID, APPLE_KEY_ID and APPLE_PRIVATE_KEY, which App Review needs (5.1.1)."
            raise warning(f"{summary}; without a key nothing is revoked when an account is deleted", fix)
        return summary

    async def check_other_issuer(self) -> str:
        return await self._check(self._settings.oidc_provider or "", "OIDC")

    async def _check(self, provider: str, prefix: str) -> str:
        """Check documents, keys and the client's secret of a provider whose settings begin with `prefix`."""
        configured = self._settings.identity_providers.get(provider)
        if configured is None:
            return "not used"
        try:
            keys = await probing.count_keys(configured)
        except errors.Unavailable as error:
            fix = f"Check that this machine reaches it, and that {prefix}_ISSUER is what its discovery document names."
            raise fault(str(error.detail), fix) from None
        try:
            is_proven = await probing.try_client(configured, f"{self._settings.app_url}{_CALLBACK_PATH}")
        except errors.Unavailable as error:
            raise fault(str(error.detail), self._describe_client(configured, prefix)) from None
        except ValueError:
            raise fault("the private key is unreadable", "Copy the content of AuthKey_….p8 again.") from None
        flow = "" if configured.web_client_id else ", no authorization code of the web"
        accepted = ", the client's secret is accepted" if is_proven else ""
        counted = "1 key" if keys == 1 else f"{keys} keys"
        return f"{configured.name} at {configured.issuer}, {counted}{accepted}{flow}"

    def _describe_client(self, configured: ProviderSettings, prefix: str) -> str:
        if configured.apple_key is not None:
            names = "APPLE_TEAM_ID, APPLE_KEY_ID, APPLE_PRIVATE_KEY and the client ids"
        else:
            names = f"{prefix}_CLIENT_SECRET and the first of {prefix}_CLIENT_IDS_WEB"
        return f"Check {names}, and that {self._settings.app_url}{_CALLBACK_PATH} is a redirect URI of that client."

    async def check_login_methods(self) -> str:
        return describe_login_methods(self._settings, find_relying_party(self._settings) is not None)


def describe_login_methods(settings: Settings, has_passkeys: bool) -> str:
    """List the ways to log in; raise NotOk where App Review would refuse an app with them in production.

    An app with the login of Google or the like has an equivalent one too, which lets people hide their address and does
    not track them (App Review Guidelines, 4.8). Apple's is one, and so are passkeys; codes by e-mail are not.
    """
    providers = settings.identity_providers
    names = [each.name for each in providers.values()]
    others = [each.name for provider, each in providers.items() if provider != "apple"]
    if settings.is_production and others and "apple" not in providers and not has_passkeys:
        summary = f"{' and '.join(others)} without a login that hides the address: App Review refuses such apps (4.8)"
        raise warning(summary, "Configure Apple, or let APP_URL be a name, which passkeys need.")
    return ", ".join(["password", "code by e-mail", *(["passkeys"] if has_passkeys else []), *names])
