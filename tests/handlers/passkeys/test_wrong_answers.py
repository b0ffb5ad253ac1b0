"""Wrong answers of authenticators: each is refused, adds and opens nothing, and leaves the right one usable."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from models import Passkey
from testing.databases import value
from testing.http_answers import read_code
from testing.logins import Deployment, Visit
from testing.passkeys import (
    ATTESTED,
    BACKED_UP,
    EXTENDED,
    PRESENT,
    RP_ID,
    VERIFIED,
    Authenticator,
    EdwardsKey,
    EllipticKey,
    Json,
    RsaKey,
    add_passkey,
    begin_registration,
    decode,
    encode,
    get_challenge,
    make_proof,
    proof_of,
    send_login,
)
from tests.handlers.passkeys.conftest import MakeUser

pytestmark = pytest.mark.rest_paths
INVALID = (401, "passkey_invalid")
#: A token of the algorithm `none`.
UNSIGNED = "eyJhbGciOiJub25lIiwidHlwIjoicGFzc2tleSJ9.e30."
NO_POINT = {1: 2, 3: -7, -1: 1, -2: b"\x01" * 32, -3: b"\x01" * 32}


def _set(**fields: Any) -> Callable[[Authenticator], None]:
    """Let the authenticator send something else."""

    def change(authenticator: Authenticator) -> None:
        for name, new in fields.items():
            setattr(authenticator, name, new)

    return change


#: What both kinds of answers may have wrong in what the browser and the authenticator say.
SAID: dict[str, Callable[[Authenticator], None]] = {
    "origin of another site": _set(origin="https://evil.example.com"),
    "origin with another port": _set(origin="http://localhost:5504"),
    "origin with another scheme": _set(origin="https://localhost:5503"),
    "origin that begins like ours": _set(origin="http://localhost:5503.evil.example.com"),
    "origin of an unknown app": _set(origin=f"android:apk-key-hash:{encode(bytes(32))}"),
    "origin null": _set(origin="null"),
    "origin in other letters": _set(origin="HTTP://LOCALHOST:5503"),
    "origin a list": _set(origin=["http://localhost:5503"]),
    "origin missing": _set(client_data={"origin": None}),
    "type of a payment": _set(client_data={"type": "payment.get"}),
    "type missing": _set(client_data={"type": None}),
    "challenge empty": _set(client_data={"challenge": ""}),
    "challenge of another": _set(client_data={"challenge": encode(b"x" * 32)}),
    "challenge a number": _set(client_data={"challenge": 5}),
    "challenge missing": _set(client_data={"challenge": None}),
    "frame of another site": _set(client_data={"crossOrigin": True}),
    "frame, as a text": _set(client_data={"crossOrigin": "true"}),
    "frame below another site": _set(client_data={"topOrigin": "https://evil.example.com"}),
    "another RP ID": _set(rp_id="evil.example.com"),
    "RP ID below ours": _set(rp_id=f"evil.{RP_ID}"),
    "user not present": _set(flags=VERIFIED),
    "user not verified": _set(flags=PRESENT),
    "no flags": _set(flags=0),
    "backed up, and not eligible": _set(flags=PRESENT | VERIFIED | BACKED_UP),
    "extensions that are missing": _set(flags=PRESENT | VERIFIED | EXTENDED),
}


def _rewrite(part: str, change: Callable[[bytes], bytes]) -> Callable[[Json], Any]:
    """Change the bytes of a part of the response."""

    def alter(credential: Json) -> None:
        response = credential["response"]
        response[part] = encode(change(decode(response[part])))

    return alter


def _put(*path: str, to: Any) -> Callable[[Json], Any]:
    def alter(credential: Json) -> None:
        inner = credential
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = to

    return alter


def _drop(*path: str) -> Callable[[Json], Any]:
    def alter(credential: Json) -> None:
        inner = credential
        for name in path[:-1]:
            inner = inner[name]
        del inner[path[-1]]

    return alter


#: Texts in place of the credential.
TEXTS: dict[str, str] = {
    "not JSON": "{]",
    "empty object": "{}",
    "list": "[]",
    "number": "17",
    "number of 5,000 digits": "9" * 5000,
    "null": "null",
    "deep": "[" * 8000,
    "deep in a member": '{"id":' * 2000,
    "surrogates": '{"id":"\\ud800","rawId":"\\ud800","type":"public-key","response":{}}',
    "16 KiB of spaces": " " * 16384,
}
#: Changes of both kinds of answers, after they were signed.
ALTERED: dict[str, Callable[[Json], Any]] = {
    "no id": _drop("id"),
    "id a number": _put("id", to=5),
    "id in another spelling": _put("id", to="AAAA"),
    "rawId that is no Base64url": _put("rawId", to="\u00e9"),
    "no rawId": _drop("rawId"),
    "no type": _drop("type"),
    "another type": _put("type", to="password"),
    "no response": _drop("response"),
    "response a text": _put("response", to="x"),
    "no client data": _drop("response", "clientDataJSON"),
    "client data a number": _put("response", "clientDataJSON", to=1),
    "client data not JSON": _rewrite("clientDataJSON", lambda _: b"\x00"),
    "client data a list": _rewrite("clientDataJSON", lambda _: b"[]"),
    "client data deep": _rewrite("clientDataJSON", lambda _: b"[" * 8000),
    "client data not UTF-8": _rewrite("clientDataJSON", lambda _: b"\xff\xfe\x00"),
    "client data cut off": _rewrite("clientDataJSON", lambda data: data[:-1]),
    "unknown attachment": _put("authenticatorAttachment", to="brain"),
}
ASSERTIONS: dict[str, Callable[[Json], Any]] = {
    "client data with a space more": _rewrite("clientDataJSON", lambda data: data + b" "),
    "authenticator data empty": _rewrite("authenticatorData", lambda _: b""),
    "authenticator data cut off": _rewrite("authenticatorData", lambda data: data[:-1]),
    "authenticator data with a byte more": _rewrite("authenticatorData", lambda data: data + b"\x00"),
    "a higher counter than was signed": _rewrite("authenticatorData", lambda data: data[:-1] + b"\x09"),
    "flags that were not signed": _rewrite("authenticatorData", lambda data: data[:32] + b"\x05" + data[33:]),
    "signature empty": _rewrite("signature", lambda _: b""),
    "signature with another byte": _rewrite("signature", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    "signature cut off": _rewrite("signature", lambda data: data[:-4]),
    "signature huge": _rewrite("signature", lambda _: b"\x30" * 10_000),
    "signature of zeros": _rewrite("signature", lambda _: bytes.fromhex("3006020100020100")),
    "no signature": _drop("response", "signature"),
    "no user handle": _put("response", "userHandle", to=None),
    "user handle empty": _put("response", "userHandle", to=""),
    "user handle of another account": _put("response", "userHandle", to=encode(uuid.uuid4().bytes)),
    "user handle as the text of the id": _put("response", "userHandle", to=encode(b"7f8de2c4-6c0b-4b58-9a83-0a1c4c6a")),
    "user handle a number": _put("response", "userHandle", to=7),
    "user handle that is no Base64url": _put("response", "userHandle", to="\u00e9"),
}


def _with_authenticator_data(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def alter(attestation: bytes) -> bytes:
        members = cbor2.loads(attestation)
        return cbor2.dumps({**members, "authData": change(members["authData"])})

    return alter


ATTESTATIONS: dict[str, Callable[[Json], Any]] = {
    "attestation empty": _rewrite("attestationObject", lambda _: b""),
    "attestation cut off": _rewrite("attestationObject", lambda data: data[:-3]),
    "attestation a number": _rewrite("attestationObject", lambda _: b"\x17"),
    "attestation deep": _rewrite("attestationObject", lambda _: b"\x81" * 8000),
    "attestation that claims a size": _rewrite("attestationObject", lambda _: b"\x5b\x7f" + b"\xff" * 7),
    "attestation with a member twice": _rewrite("attestationObject", lambda data: b"\xa4cfmtdnone" + data[1:]),
    "no format": _rewrite("attestationObject", lambda data: cbor2.dumps({"authData": cbor2.loads(data)["authData"]})),
    "no authenticator data": _rewrite("attestationObject", lambda _: cbor2.dumps({"fmt": "none", "attStmt": {}})),
    "authenticator data a text": _rewrite("attestationObject", lambda _: cbor2.dumps({"fmt": "none", "authData": "x"})),
    "no attestation": _drop("response", "attestationObject"),
    "no credential": _rewrite(
        "attestationObject",
        _with_authenticator_data(lambda data: data[:32] + bytes([data[32] & ~ATTESTED]) + data[33:37]),
    ),
    "credential cut off": _rewrite("attestationObject", _with_authenticator_data(lambda data: data[:60])),
    "a byte after the key": _rewrite("attestationObject", _with_authenticator_data(lambda data: data + b"\x00")),
    "an id of 0 bytes": _rewrite(
        "attestationObject", _with_authenticator_data(lambda data: data[:53] + b"\x00\x00" + data[55 + 32 :])
    ),
    "id of the credential that is not the one inside": _put("rawId", to="AAAA"),
}


def _cose(**changes: Any) -> dict[int, Any]:
    members = {"kty": 1, "alg": 3, "crv": -1, "x": -2, "y": -3, "more": -4}
    return EllipticKey().cose | {members[name]: value for name, value in changes.items()}


#: Public keys that no passkey has; each is refused when it is added, and not only when it is used.
KEYS: dict[str, Any] = {
    "no key": b"",
    "a number": b"\x04",
    "a text": cbor2.dumps("key"),
    "an empty map": cbor2.dumps({}),
    "no coordinate": {name: part for name, part in EllipticKey().cose.items() if name != -3},
    "a point that is on no curve": NO_POINT,
    "coordinates of zeros": _cose(x=bytes(32), y=bytes(32)),
    "another curve": _cose(crv=2),
    "ES512": _cose(alg=-36),
    "RS256 with an elliptic key": _cose(alg=-257),
    "EdDSA with an elliptic key": _cose(alg=-8),
    "ES256 with an Edwards key": EdwardsKey().cose | {3: -7},
    "RS256 with an Edwards key": EdwardsKey().cose | {3: -257},
    "Ed448": EdwardsKey().cose | {-1: 7},
    "an Edwards key that is cut off": EdwardsKey().cose | {-2: bytes(31)},
    "RS1": RsaKey().cose | {3: -65535},
    "PS256": RsaKey().cose | {3: -37},
    "ES256 with an RSA key": RsaKey().cose | {3: -7},
    "an RSA key of 1,024 bits": RsaKey(1024).cose,
    "an RSA key of 64,000 bits": RsaKey().cose | {-1: b"\xff" * 8000},
    "an RSA exponent of 1": RsaKey().cose | {-2: b"\x01"},
    "an RSA exponent of 2,048 bits": RsaKey().cose | {-2: b"\x7f" * 256},
    "a symmetric key": {1: 4, 3: 5, -1: bytes(32)},
    "an algorithm as a text": _cose(alg="ES256"),
    "an algorithm as a fraction": _cose(alg=-7.0),
    "a kind as true": _cose(kty=True),
    "a member more": _cose(more=b"x"),
    "a coordinate as a text": _cose(x="x" * 32),
    "ML-DSA": {1: 7, 3: -48, -1: bytes(1312)},
}


async def _count(deployment: Deployment, user_id: str) -> int:
    return int(await value(deployment.services, "SELECT count(*) FROM passkeys WHERE user_id = :u", u=user_id))


async def _refuse_login(visit: Visit, proof: Json) -> None:
    began = time.monotonic()
    http = visit()
    answer = await send_login(http, proof)
    assert read_code(answer) == INVALID, answer.text
    assert "Authorization" not in http.headers and "set-cookie" not in answer.headers
    assert time.monotonic() - began < 10, "bounded"


async def _refuse_registration(deployment: Deployment, user: Any, proof: Json) -> None:
    answer = await user.http.post("/users/me/passkeys", json={**proof, "name": "Phone"})
    assert read_code(answer) == INVALID, answer.text
    assert await _count(deployment, user.id) == 0


@pytest.mark.parametrize("kind", SAID)
async def test_login_refuses_what_was_said_wrongly(visit: Visit, make_user: MakeUser, kind: str) -> None:
    authenticator, _ = await add_passkey((await make_user()).http)
    right = dict(vars(authenticator))
    SAID[kind](authenticator)
    challenge = await get_challenge(visit())
    await _refuse_login(visit, proof_of(challenge, authenticator.answer(challenge["optionsJson"])))
    vars(authenticator).update(right)
    answer = await send_login(visit(), proof_of(challenge, authenticator.answer(challenge["optionsJson"])))
    assert answer.status_code == 200, "a wrong answer does not spend the challenge"


@pytest.mark.parametrize("kind", SAID)
async def test_passkey_said_wrongly_is_not_added(deployment: Deployment, make_user: MakeUser, kind: str) -> None:
    user, authenticator = await make_user(), Authenticator()
    SAID[kind](authenticator)
    challenge = await begin_registration(user.http)
    await _refuse_registration(deployment, user, proof_of(challenge, authenticator.register(challenge["optionsJson"])))


@pytest.mark.parametrize("kind", [*ALTERED, *ASSERTIONS])
async def test_altered_answer_does_not_log_in(visit: Visit, make_user: MakeUser, kind: str) -> None:
    authenticator, _ = await add_passkey((await make_user()).http)
    challenge = await get_challenge(visit())
    credential = authenticator.answer(challenge["optionsJson"])
    (ALTERED | ASSERTIONS)[kind](credential)
    await _refuse_login(visit, proof_of(challenge, credential))


@pytest.mark.parametrize("kind", [*ALTERED, *ATTESTATIONS])
async def test_altered_passkey_is_not_added(deployment: Deployment, make_user: MakeUser, kind: str) -> None:
    user, authenticator = await make_user(), Authenticator()
    challenge = await begin_registration(user.http)
    credential = authenticator.register(challenge["optionsJson"])
    (ALTERED | ATTESTATIONS)[kind](credential)
    await _refuse_registration(deployment, user, proof_of(challenge, credential))


@pytest.mark.parametrize("kind", KEYS)
async def test_key_of_another_kind_is_not_added(deployment: Deployment, make_user: MakeUser, kind: str) -> None:
    user, authenticator = await make_user(), Authenticator(cose=KEYS[kind])
    challenge = await begin_registration(user.http)
    await _refuse_registration(deployment, user, proof_of(challenge, authenticator.register(challenge["optionsJson"])))


@pytest.mark.parametrize("kind", TEXTS)
async def test_text_that_is_no_credential_is_refused(
    deployment: Deployment, visit: Visit, make_user: MakeUser, kind: str
) -> None:
    user = await make_user()
    await _refuse_login(visit, proof_of(await get_challenge(visit()), TEXTS[kind]))
    await _refuse_registration(deployment, user, proof_of(await begin_registration(user.http), TEXTS[kind]))


async def test_longer_text_is_not_read(visit: Visit) -> None:
    proof = proof_of(await get_challenge(visit()), "x" * 16385)
    assert read_code(await send_login(visit(), proof)) == (400, "request_invalid")


async def test_answer_of_the_other_kind_is_refused(deployment: Deployment, visit: Visit, make_user: MakeUser) -> None:
    """A registration does not log in, and an assertion adds nothing, also with the challenge of the other."""
    user, other = await make_user(), await make_user()
    authenticator, _ = await add_passkey(user.http)
    login, begun = await get_challenge(visit()), await begin_registration(other.http)
    registration = Authenticator().register(begun["optionsJson"])
    await _refuse_login(visit, proof_of(login, registration))
    await _refuse_login(visit, proof_of(begun, authenticator.answer(begun["optionsJson"])))
    await _refuse_login(visit, proof_of(login, authenticator.answer(begun["optionsJson"])))
    begun_as_login = {**begun, "challengeToken": login["challengeToken"]}
    await _refuse_registration(deployment, other, proof_of(begun_as_login, registration))
    await _refuse_registration(deployment, other, proof_of(begun, authenticator.answer(begun["optionsJson"])))
    assertion_as_registration = authenticator.answer(begun["optionsJson"])
    assertion_as_registration["response"]["attestationObject"] = registration["response"]["attestationObject"]
    await _refuse_registration(deployment, other, proof_of(begun, assertion_as_registration))


@pytest.mark.parametrize(
    "token",
    ["x", "a.b.c", "eyJhbGciOiJub25lIiwidHlwIjoicGFzc2tleSJ9.e30.", ".", "access", "other challenge", "expired"],
)
async def test_token_that_is_no_challenge_is_refused(
    deployment: Deployment, visit: Visit, make_user: MakeUser, token: str
) -> None:
    user = await make_user()
    authenticator, _ = await add_passkey(user.http)
    challenge = await get_challenge(visit())
    given = {"access": user.access_token, "other challenge": (await get_challenge(visit()))["challengeToken"]}
    if token == "expired":
        tokens = deployment.services.passkeys._challenges._tokens
        challenge_text = json.loads(challenge["optionsJson"])["challenge"]
        claims = {"purpose": "login", "challenge": challenge_text}
        given["expired"] = tokens._sign("passkey", f"{tokens._audience}/passkey", time.time() - 1, claims)
    challenge["challengeToken"] = given.get(token, token)
    await _refuse_login(visit, proof_of(challenge, authenticator.answer(challenge["optionsJson"])))


async def test_counter_that_does_not_rise_is_refused(visit: Visit, make_user: MakeUser, caplog: Any) -> None:
    """It shows a copy of the key; a synced passkey, which has none, sends 0 each time."""
    authenticator, _ = await add_passkey((await make_user()).http, Authenticator(counter=5))
    for counter in (5, 4, 0):
        authenticator.counter = counter
        await _refuse_login(visit, await make_proof(visit(), authenticator))
    assert caplog.text.count("passkey_counter_refused") == 3
    for counter in (6, 2**32 - 1):
        authenticator.counter = counter
        assert (await send_login(visit(), await make_proof(visit(), authenticator))).status_code == 200
    await _refuse_login(visit, await make_proof(visit(), authenticator))
    synced, _ = await add_passkey((await make_user()).http)
    for _ in range(3):
        assert (await send_login(visit(), await make_proof(visit(), synced))).status_code == 200


async def test_unknown_and_removed_passkeys_look_alike(visit: Visit, make_user: MakeUser) -> None:
    user = await make_user()
    removed, passkey = await add_passkey(user.http)
    assert (await user.http.delete(f"/users/me/passkeys/{passkey['id']}")).status_code == 204
    unknown = Authenticator(user_handle=secrets.token_bytes(16))
    answers = [await send_login(visit(), await make_proof(visit(), each)) for each in (removed, unknown)]
    assert [read_code(each) for each in answers] == [INVALID] * 2
    first, second = ({**each.json(), "instance": "", "requestId": ""} for each in answers)
    assert first == second


async def test_credential_of_another_account_is_not_added(
    deployment: Deployment, visit: Visit, make_user: MakeUser
) -> None:
    """Neither with its own key nor with the attacker's, whose signature would otherwise log in as the other."""
    victim, attacker = await make_user(), await make_user()
    authenticator, _ = await add_passkey(victim.http)
    for key in (authenticator.key, EllipticKey()):
        copy = Authenticator(key=key, credential_id=authenticator.credential_id)
        challenge = await begin_registration(attacker.http)
        await _refuse_registration(deployment, attacker, proof_of(challenge, copy.register(challenge["optionsJson"])))
    opened = await send_login(visit(), await make_proof(visit(), authenticator))
    assert opened.json()["user"]["id"] == victim.id
    # With the attacker's key and the victim's credential or user handle nobody gets in.
    own, _ = await add_passkey(attacker.http)
    own.user_handle = uuid.UUID(victim.id).bytes
    await _refuse_login(visit, await make_proof(visit(), own))
    own.user_handle, own.credential_id = uuid.UUID(victim.id).bytes, authenticator.credential_id
    await _refuse_login(visit, await make_proof(visit(), own))


async def test_passkey_of_another_account_is_no_proof(
    deployment: Deployment, visit: Visit, make_user: MakeUser
) -> None:
    victim, attacker = await make_user(), await make_user()
    own, _ = await add_passkey(attacker.http)
    own.user_handle = uuid.UUID(victim.id).bytes
    for handle in (uuid.UUID(attacker.id).bytes, uuid.UUID(victim.id).bytes):
        own.user_handle = handle
        proof = {"passkey": await make_proof(visit(), own)}
        answer = await victim.http.request("DELETE", "/users/me", json={"proof": proof})
        assert read_code(answer) == INVALID
        answer = await victim.http.post("/users/me/passkeys/challenge", json={"proof": proof})
        assert read_code(answer) == INVALID
    async with deployment.services.database.transaction() as db:
        assert await db.get(Passkey, uuid.UUID(victim.id)) is None
    assert (await victim.http.get("/users/me")).status_code == 200
