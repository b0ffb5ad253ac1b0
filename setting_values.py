"""Types of settings: each parses a value, or says how it should be written.

Imports no other module of the product. A message continues a sentence that begins with the name of the setting, and
never contains the value.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from email.headerregistry import HeaderRegistry
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(value: Any) -> Any:
    """Read `15m`, `30d`, `90s`, `12h` as a timedelta."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]+)([smhd])", value.strip())
        if not match:
            raise ValueError("should be a whole number and a unit, such as 90s, 15m, 12h or 30d")
        try:
            return timedelta(**{_UNITS[match[2]]: int(match[1])})
        except (OverflowError, ValueError):  # longer than a timedelta: out of any range
            return timedelta.max
    return value


def between(shortest: str, longest: str) -> AfterValidator:
    """Limit a duration to a range, such as `1s` to `5m`."""
    low, high = _duration(shortest), _duration(longest)

    def check(value: timedelta) -> timedelta:
        if not low <= value <= high:
            raise ValueError(f"should be between {shortest} and {longest}")
        return value

    return AfterValidator(check)


def _comma_separated(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _host(value: str) -> str:
    """Return a host name, or an IP address without the brackets that URLs put around IPv6."""
    bare = value.strip().removeprefix("[").removesuffix("]")
    if ":" in bare:
        try:
            return str(ipaddress.IPv6Address(bare))
        except ValueError:
            pass
    if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?", bare):
        raise ValueError("should be a host name or an IP address, without scheme, port or path")
    return bare


def split_port(text: str) -> tuple[str, int | None]:
    """Split a host and its port, `db:5432` or `[::1]:5432`; the port is None without one."""
    match = re.fullmatch(r"(\[[^]]*\]|[^:]*):([0-9]{1,5})", text.strip())
    return (match[1].removeprefix("[").removesuffix("]"), int(match[2])) if match else (text.strip(), None)


def _database_hosts(value: str) -> str:
    """Return hosts with commas between, in the form of `split_port`."""
    hosts = []
    for each in value.split(","):
        host, port = split_port(each)
        if port is not None and not 0 < port < 65536:
            raise ValueError("has a port that is not between 1 and 65535")
        bare = _host(host)
        hosts.append(bare if port is None else f"{url_host(bare)}:{port}")
    return ",".join(hosts)


def url_host(host: str) -> str:
    """Format a host for a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is and how to log in: one server, Sentinels that know the primary, or nodes of a cluster."""

    nodes: tuple[tuple[str, int], ...]
    kind: Literal["server", "sentinel", "cluster"] = "server"
    #: The name by which Sentinels know the primary.
    primary_name: str = ""
    username: str | None = None
    password: SecretStr | None = None
    uses_tls: bool = False

    def __str__(self) -> str:
        """Format it for messages, without credentials."""
        nodes = ",".join(f"{url_host(host)}:{port}" for host, port in self.nodes)
        return {
            "server": nodes,
            "sentinel": f"{nodes} (Sentinels of {self.primary_name})",
            "cluster": f"{nodes} (cluster)",
        }[self.kind]


_REDIS_FORMS = (
    "redis://host:6379, rediss://user:password@host:6379, redis+sentinel://host1,host2,host3/name"
    " or redis+cluster://host1,host2"
)


def _redis_url(value: Any) -> Any:
    """Read an address of Redis, such as `rediss://user:password@host:6379`."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"redis(s?)(?:\+(sentinel|cluster))?://(?:(.*)@)?([^@/?#]+)(?:/([^/?#]*))?", value.strip())
    if match is None:
        raise ValueError(f"should be {_REDIS_FORMS}")
    tls, kind, login, hosts, path = match.groups()
    nodes = tuple(_redis_node(each, 26379 if kind == "sentinel" else 6379) for each in hosts.split(","))
    if kind is None and len(nodes) > 1:
        raise ValueError("names several hosts; begin it with redis+sentinel:// or redis+cluster://")
    if kind == "sentinel" and not path:
        raise ValueError("needs the name of the primary after the Sentinels, such as /mymaster")
    if kind != "sentinel" and path not in (None, "", "0"):
        raise ValueError("names a database; leave it out, because only database 0 is used")
    username, has_password, password = (login or "").partition(":")
    if login is not None and not (has_password and password):
        raise ValueError("has a user without a password; write it as user:password@ or :password@")
    kinds: dict[str | None, Literal["server", "sentinel", "cluster"]]
    kinds = {None: "server", "sentinel": "sentinel", "cluster": "cluster"}
    return RedisAddress(
        nodes=nodes,
        kind=kinds[kind],
        primary_name=unquote(path) if kind == "sentinel" else "",
        username=unquote(username) or None,
        password=SecretStr(unquote(password)) if password else None,
        uses_tls=bool(tls),
    )


def _redis_node(text: str, default_port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[^\]]+\]|[^:]+)(?::([0-9]{1,5}))?", text.strip())
    if match is None or not 0 < int(match[2] or default_port) < 65536:
        raise ValueError("has a host or port that is wrong; write host:6379, and IPv6 as [::1]:6379")
    try:
        return _host(match[1]), int(match[2] or default_port)
    except ValueError:
        raise ValueError(f"should be {_REDIS_FORMS}") from None


def _origin(value: str) -> str:
    """Return an origin as browsers send it: lower case, without a default port."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", value):
        raise ValueError(
            "should be a scheme and a host, such as https://app.example.com, without *, path or slash at the end"
        )
    port = value.rpartition("]")[2].split("://")[-1].partition(":")[2]
    if port and not 0 < int(port) < 65536:
        raise ValueError("has a port that is not between 1 and 65535")
    origin = value.lower()
    for scheme, default in (("http", ":80"), ("https", ":443")):
        if origin.startswith(f"{scheme}://"):
            origin = origin.removesuffix(default)
    return origin


def _http_origin(value: str) -> str:
    if not value.lower().startswith(("http://", "https://")):
        raise ValueError("should begin with https:// or http://")
    return _origin(value)


def _public_url(value: str) -> str:
    """Return the address below which public objects are, without a slash at the end."""
    match = re.fullmatch(r"([^/]*//[^/]*)((?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*)", value)
    if match is None:
        raise ValueError("should be an address such as https://files.example.com/pictures, without spaces, ? and #")
    return _http_origin(match[1]) + match[2].rstrip("/")


def _proxy(value: str) -> str:
    """Require an IP address or a network; anything else would match no client, or every client."""
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        hint = f"; write {ipaddress.ip_network(value, strict=False)}" if "host bits" in str(error) else ""
        raise ValueError(
            f"should be IP addresses and networks, such as 10.0.0.0/8, with commas between{hint}"
        ) from None
    return value


def _sender(value: str) -> str:
    """Require one address, with or without a name before it."""
    has_controls = any(ord(character) < 32 or ord(character) == 127 for character in value)
    header: Any = None if has_controls else HeaderRegistry()("From", value)
    if header is None or header.defects or len(header.addresses) != 1 or not header.addresses[0].domain:
        raise ValueError(
            "should be one address on one line, such as noreply@example.com or Parlance <noreply@example.com>"
        )
    return value


def _encryption_keys(value: SecretStr) -> SecretStr:
    """Require keys of 256 bits, in hexadecimal."""
    if not all(re.fullmatch(r"\s*[0-9a-fA-F]{64}\s*", each) for each in value.get_secret_value().split(",")):
        raise ValueError("should be 64 hexadecimal digits, as of `openssl rand -hex 32`, several with commas between")
    return value


def _private_key_pem(value: SecretStr) -> SecretStr:
    """Return a private key with its line breaks."""
    # On one line, as the account's JSON file has it and an environment file needs it.
    pem = value.get_secret_value().replace("\\n", "\n").strip()
    if not (pem.startswith("-----BEGIN PRIVATE KEY-----") and pem.endswith("-----END PRIVATE KEY-----")):
        raise ValueError("should be the private_key of the service account's JSON file, with its \\n")
    return SecretStr(pem + "\n")


def _apple_private_key_pem(value: SecretStr) -> SecretStr:
    """Return the key of an AuthKey_….p8 file with its line breaks."""
    pem = value.get_secret_value().replace("\\n", "\n").strip()
    if not (pem.startswith("-----BEGIN PRIVATE KEY-----") and pem.endswith("-----END PRIVATE KEY-----")):
        raise ValueError("should be the content of Apple's AuthKey_….p8 file, with \\n for its line breaks")
    return SecretStr(pem + "\n")


def _client_id(value: str) -> str:
    if not re.fullmatch(r"[!-~]{1,255}", value):
        raise ValueError("should be client ids with commas between, each at most 255 characters without spaces")
    return value


def _issuer_url(value: str) -> str:
    """Require an issuer of OpenID Connect; it stays as it is, because tokens have to name it exactly."""
    if not re.fullmatch(r"https?://[^/?#\s@]+(/[^?#\s]*)?", value):
        raise ValueError("should be the issuer of the discovery document, such as https://id.example.com/realms/main")
    return value


def _relying_party_id(value: str) -> str:
    """Require a domain: browsers accept no IP address and no top-level domain."""
    name = value.strip().lower()
    if is_ip_address(name) or not re.fullmatch(r"localhost|([a-z0-9-]{1,63}\.)+[a-z0-9-]{1,63}", name):
        raise ValueError("should be a domain without scheme and port, such as example.com, and no IP address")
    return name


def _passkey_origin(value: str) -> str:
    """Return an https:// origin as browsers send it, or an Android app's as Credential Manager does."""
    if re.fullmatch(r"android:apk-key-hash:[A-Za-z0-9_-]{43}", value):
        return value
    if not value.lower().startswith("https://"):
        raise ValueError("should be android:apk-key-hash: and 43 characters of Base64url, or begin with https://")
    return _origin(value)


def is_ip_address(host: str) -> bool:
    """Return whether a host, without the brackets of URLs, is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _provider_id(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", value) or value in ("google", "apple"):
        raise ValueError("should be a short name of lower-case letters, digits and -, other than google and apple")
    return value


def _error_reports_dsn(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"https?://[0-9A-Za-z]+@[^/@]+(/[^/]+)*/[0-9]+", value.get_secret_value()):
        raise ValueError("should be the DSN of a Sentry project, such as https://KEY@sentry.example.com/1")
    return value


def _bus_directory(value: Path) -> Path:
    if len(os.fsencode(value.absolute())) > 85:
        raise ValueError("should be a path of at most 85 bytes: addresses of Unix sockets are short")
    return value


def _email_address(value: str) -> str:
    """Require one address without a name."""
    if not re.fullmatch(r"[^\s<>()\[\],;:\\\"@]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", value) or len(value) > 254:
        raise ValueError("should be one address without a name, such as contact@example.com")
    return value


def loopback_port(origin: str) -> str | None:
    """Return the port of a loopback origin over http, such as `http://localhost:5503`; None for another origin."""
    match = re.fullmatch(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::([0-9]{1,5}))?", origin)
    return (match[1] or "80") if match else None


def strip_prefix(message: str) -> str:
    """Strip the beginning of pydantic's messages, so that the rest follows the name of a setting."""
    return re.sub(r"^(Value error, |Input |String )", "", message)


Duration = Annotated[timedelta, BeforeValidator(_duration)]
BusDirectory = Annotated[Path, AfterValidator(_bus_directory)]
EncryptionKeys = Annotated[SecretStr, AfterValidator(_encryption_keys)]
ErrorReportsDsn = Annotated[SecretStr, AfterValidator(_error_reports_dsn)]
Host = Annotated[str, AfterValidator(_host)]
PrivateKeyPem = Annotated[SecretStr, AfterValidator(_private_key_pem)]
ApplePrivateKeyPem = Annotated[SecretStr, AfterValidator(_apple_private_key_pem)]
ClientIds = Annotated[list[Annotated[str, AfterValidator(_client_id)]], NoDecode, BeforeValidator(_comma_separated)]
IssuerUrl = Annotated[str, AfterValidator(_issuer_url)]
RelyingPartyId = Annotated[str, AfterValidator(_relying_party_id)]
ProviderId = Annotated[str, AfterValidator(_provider_id)]
RedisUrl = Annotated[RedisAddress, NoDecode, BeforeValidator(_redis_url)]
DatabaseHosts = Annotated[str, AfterValidator(_database_hosts)]
Sender = Annotated[str, AfterValidator(_sender)]
EmailAddress = Annotated[str, AfterValidator(_email_address)]
#: Scheme, host and port of an HTTP server.
Site = Annotated[str, AfterValidator(_http_origin)]
#: The same, with a path.
PublicUrl = Annotated[str, AfterValidator(_public_url)]
Origins = Annotated[list[Annotated[str, AfterValidator(_origin)]], NoDecode, BeforeValidator(_comma_separated)]
Proxies = Annotated[list[Annotated[str, AfterValidator(_proxy)]], NoDecode, BeforeValidator(_comma_separated)]
#: Reasons of reports that are urgent (`models.report.URGENT_REASONS`).
UrgentReasons = Annotated[list[Literal["minor_safety", "threat"]], NoDecode, BeforeValidator(_comma_separated)]
PasskeyOrigins = Annotated[
    list[Annotated[str, AfterValidator(_passkey_origin)]], NoDecode, BeforeValidator(_comma_separated)
]
