"""The relying party of an installation: its RP ID, and the origins whose pages and apps use passkeys."""

from __future__ import annotations

import pytest

from adapters.passkeys import find_relying_party
from settings import SettingsError, load

ANDROID = "android:apk-key-hash:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


@pytest.mark.parametrize(
    ("values", "rp_id", "origins"),
    [
        ({"app_url": "https://app.example.com"}, "app.example.com", {"https://app.example.com"}),
        # iOS names the RP ID as the origin of an app.
        (
            {"app_url": "https://api.example.com", "passkey_rp_id": "example.com"},
            "example.com",
            {"https://api.example.com", "https://example.com"},
        ),
        (
            {
                "app_url": "https://example.com",
                "cors_origins": "https://www.example.com,https://example.com.evil.net,https://badexample.com,"
                "http://old.example.com,capacitor://localhost,https://m.example.com:8443",
            },
            "example.com",
            {"https://example.com", "https://www.example.com", "https://m.example.com:8443"},
        ),
        (
            {"app_url": "https://example.com", "passkey_origins": f"{ANDROID},https://Partner.example.net"},
            "example.com",
            {"https://example.com", ANDROID, "https://partner.example.net"},
        ),
        ({"app_url": "http://localhost:5503"}, "localhost", {"http://localhost:5503"}),
        ({"app_env": "development", "app_url": "http://127.0.0.1:5503"}, "localhost", {"http://localhost:5503"}),
        ({"app_env": "development", "app_url": "http://[::1]:80"}, "localhost", {"http://localhost"}),
    ],
)
def test_relying_party_is_of_the_settings(values: dict[str, str], rp_id: str, origins: set[str]) -> None:
    found = find_relying_party(load(None, **{"app_env": "test", **values}))
    assert found is not None
    assert (found.rp_id, set(found.origins)) == (rp_id, origins)


@pytest.mark.parametrize("app_url", ["http://127.0.0.1:5503", "https://192.0.2.7", "https://[2001:db8::7]"])
def test_addresses_have_no_passkeys(app_url: str) -> None:
    assert find_relying_party(load(None, app_env="test", app_url=app_url)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("passkey_rp_id", "https://example.com"),
        ("passkey_rp_id", "example.com:443"),
        ("passkey_rp_id", "192.0.2.7"),
        ("passkey_rp_id", "com"),
        ("passkey_origins", "http://example.com"),
        ("passkey_origins", "https://example.com/"),
        ("passkey_origins", "android:apk-key-hash:short"),
        ("passkey_origins", "android:apk-key-hash:" + "=" * 43),
        ("passkey_origins", "https://*.example.com"),
    ],
)
def test_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name.upper()):
        load(None, **{name: value})
