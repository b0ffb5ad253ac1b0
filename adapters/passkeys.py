"""WebAuthn: options for authenticators, and verification of their answers, by the library `webauthn`.

Of any answer, also a malformed one, the result is PasskeyInvalid or a verified value. The library checks type,
challenge, origin, hash of the RP ID, flags and signature; what it leaves out is here: `crossOrigin`, the kinds of keys
that fit their algorithms, and sizes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import cbor2
import webauthn
from webauthn.helpers import (
    base64url_to_bytes,
    bytes_to_base64url,
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    options_to_json,
    parse_authentication_credential_json,
    parse_registration_credential_json,
)
from webauthn.helpers.cose import COSECRV, COSEKTY, COSEAlgorithmIdentifier, COSEKey
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

import errors
from setting_values import is_ip_address, loopback_port
from settings import Settings

#: What users read in the dialogs of their devices.
_SERVICE_NAME = "Parlance"
#: How long a dialog may stay open, in milliseconds: as long as a challenge.
_TIMEOUT_MILLISECONDS = 5 * 60 * 1000
#: ES256, EdDSA and RS256, in the order of preference.
_ALGORITHMS = (
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
)
#: The kind of key of each algorithm, with its curve, and how many members such a COSE key has.
_KEYS: dict[tuple[int, int], tuple[int | None, int]] = {
    (COSEKTY.EC2, COSEAlgorithmIdentifier.ECDSA_SHA_256): (COSECRV.P256, 5),
    (COSEKTY.OKP, COSEAlgorithmIdentifier.EDDSA): (COSECRV.ED25519, 4),
    (COSEKTY.RSA, COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256): (None, 4),
}
#: Of RSA keys, in bits: shorter ones are weak, longer ones slow.
_MIN_RSA_BITS, _MAX_RSA_BITS, _MAX_EXPONENT_BITS = 2048, 4096, 32
#: In bytes (WebAuthn, 4, credential id).
_MAX_CREDENTIAL_ID = 1023


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A verified registration. `public_key` is a COSE key; `is_synced`, whether it is backed up."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    aaguid: uuid.UUID
    is_synced: bool


@dataclass(frozen=True, slots=True)
class Assertion:
    """A parsed answer to a login challenge, still to be verified. `user_handle` names the account; None without one."""

    credential_id: bytes
    user_handle: bytes | None
    credential: AuthenticationCredential


@dataclass(frozen=True, slots=True)
class VerifiedAssertion:
    """`sign_count` is the authenticator's counter, 0 where it has none."""

    sign_count: int
    is_synced: bool
    is_user_verified: bool


class RelyingParty:
    """The service as authenticators know it: its RP ID, a domain, and the origins of its pages and apps."""

    def __init__(self, rp_id: str, origins: Sequence[str]) -> None:
        self.rp_id = rp_id
        self.origins = list(origins)

    def write_request_options(self, challenge: bytes) -> str:
        """Write options of a login as JSON; they name no credentials, so that the authenticator offers its own."""
        options = webauthn.generate_authentication_options(
            rp_id=self.rp_id,
            challenge=challenge,
            timeout=_TIMEOUT_MILLISECONDS,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json(options)

    def write_creation_options(self, challenge: bytes, user_id: uuid.UUID, email: str, existing: list[bytes]) -> str:
        """Write options of a registration as JSON; an authenticator that has an `existing` credential refuses."""
        options = webauthn.generate_registration_options(
            rp_id=self.rp_id,
            rp_name=_SERVICE_NAME,
            user_id=user_id.bytes,
            user_name=email,
            challenge=challenge,
            timeout=_TIMEOUT_MILLISECONDS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in existing],
            supported_pub_key_algs=list(_ALGORITHMS),
        )
        return options_to_json(options)

    def verify_registration(self, credential_json: str, challenge: bytes) -> NewCredential:
        """Verify the answer to a challenge of a registration; raise PasskeyInvalid."""
        with _refusing():
            credential = parse_registration_credential_json(credential_json)
            _check_client_data(credential.response.client_data_json)
            credential.response.attestation_object = _drop_attestation(credential.response.attestation_object)
            verified = webauthn.verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self.rp_id,
                expected_origin=self.origins,
                require_user_verification=True,
                supported_pub_key_algs=list(_ALGORITHMS),
            )
            if verified.credential_id != credential.raw_id or len(verified.credential_id) > _MAX_CREDENTIAL_ID:
                raise ValueError("the credential's id is another, or too long")
            _check_key(verified.credential_public_key)
            return NewCredential(
                verified.credential_id,
                verified.credential_public_key,
                verified.sign_count,
                uuid.UUID(verified.aaguid),
                verified.credential_backed_up,
            )

    def parse_assertion(self, credential_json: str) -> Assertion:
        """Parse the answer to a challenge of a login; raise PasskeyInvalid."""
        with _refusing():
            credential = parse_authentication_credential_json(credential_json)
            _check_client_data(credential.response.client_data_json)
            return Assertion(credential.raw_id, credential.response.user_handle, credential)

    def verify_assertion(self, assertion: Assertion, challenge: bytes, public_key: bytes) -> VerifiedAssertion:
        """Verify a parsed answer with the key of its credential; raise PasskeyInvalid.

        The counter is not compared here, but where the result is used and no other answer comes between.
        """
        with _refusing():
            verified = webauthn.verify_authentication_response(
                credential=assertion.credential,
                expected_challenge=challenge,
                expected_rp_id=self.rp_id,
                expected_origin=self.origins,
                credential_public_key=public_key,
                credential_current_sign_count=0,
                require_user_verification=True,
            )
            return VerifiedAssertion(verified.new_sign_count, verified.credential_backed_up, verified.user_verified)


def find_relying_party(settings: Settings) -> RelyingParty | None:
    """Build the relying party of an installation; None where its host is an IP address, which has no passkeys.

    In development the names of loopback are one, as in `Settings.is_own_origin`: browsers accept `localhost` alone.
    """
    host = urlsplit(settings.app_url).hostname or ""
    port = loopback_port(settings.app_url) if settings.app_env == "development" else None
    rp_id = settings.passkey_rp_id or ("localhost" if port else host)
    if is_ip_address(rp_id):
        return None
    # iOS names the RP ID itself as the origin of apps.
    origins = [] if rp_id == "localhost" else [f"https://{rp_id}"]
    origins += [each for each in (settings.app_url, *settings.cors_origins) if _is_below(each, rp_id)]
    if port and rp_id == "localhost":
        origins.append("http://localhost" + (f":{port}" if port != "80" else ""))
    return RelyingParty(rp_id, list(dict.fromkeys((*origins, *settings.passkey_origins))))


def _is_below(origin: str, rp_id: str) -> bool:
    """Return whether browsers let pages of an origin use an RP ID: its host, or a parent domain, over TLS."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    is_local = host == "localhost" or host.endswith(".localhost")
    return (parts.scheme == "https" or (parts.scheme == "http" and is_local)) and (
        host == rp_id or host.endswith(f".{rp_id}")
    )


def encode_challenge(challenge: bytes) -> str:
    """Write a challenge as Base64url."""
    return bytes_to_base64url(challenge)


def decode_challenge(text: str) -> bytes:
    return base64url_to_bytes(text)


@contextmanager
def _refusing() -> Iterator[None]:
    """Raise PasskeyInvalid for any error.

    Malformed JSON, CBOR and keys raise a dozen types of exceptions here, RecursionError and those of `cryptography`
    among them, and the library documents a few.
    """
    try:
        yield
    except Exception as error:
        raise errors.PasskeyInvalid() from error


def _check_client_data(client_data: bytes) -> None:
    """Refuse answers that a page of another site has got in a frame, which the library lets pass."""
    parsed = json.loads(client_data)
    if parsed.get("crossOrigin", False) is not False or "topOrigin" in parsed:
        raise ValueError("the answer is of a page in a frame of another site")


def _drop_attestation(attestation_object: bytes) -> bytes:
    """Return an attestation object without its statement.

    Options ask for none, and an authenticator that sends one anyway is no more trusted for it: so no certificate of a
    client is parsed.
    """
    parsed = cbor2.loads(attestation_object, allow_duplicate_keys=False)
    if not isinstance(parsed["fmt"], str) or not isinstance(parsed["authData"], bytes):
        raise TypeError("the attestation object is malformed")
    return cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": parsed["authData"]})


def _check_key(public_key: bytes) -> None:
    """Require a key of the kind, the curve and the size that its algorithm has; the library tries it at a login."""
    members: dict[Any, Any] = cbor2.loads(public_key, allow_duplicate_keys=False)
    if not all(type(name) is int and type(value) in (int, bytes) for name, value in members.items()):
        raise TypeError("the key is malformed")
    curve, size = _KEYS[members[COSEKey.KTY], members[COSEKey.ALG]]
    if len(members) != size or (curve is not None and members[COSEKey.CRV] != curve):
        raise ValueError("the key has another curve, or more members")
    if curve is None:
        modulus, exponent = (int.from_bytes(members[name]) for name in (COSEKey.N, COSEKey.E))
        is_fit = _MIN_RSA_BITS <= modulus.bit_length() <= _MAX_RSA_BITS
        if not is_fit or exponent.bit_length() > _MAX_EXPONENT_BITS:
            raise ValueError("the RSA key has another size")
    # Fails for a point that is not on its curve.
    decoded_public_key_to_cryptography(decode_credential_public_key(public_key))
