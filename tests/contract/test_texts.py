"""Texts that other people read: one rule for each kind, the same over both REST paths, events and names of files."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

import app
import texts
from container import Container
from contract import schemas
from contract.operations import json_body_schemas
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner
from testing.databases import rows, value
from testing.lessons import new_course, new_lesson
from testing.pictures import upload
from testing.servers import Phone, client, http_client

MakePhone = Callable[..., Awaitable[Phone]]

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
FAMILY = "👨\u200d👩\u200d👧\u200d👦"

#: A text, and what is stored of it.
GOOD = {
    "plain": ("Ada", "Ada"),
    "space around": (" \u00a0Ada ", "Ada"),
    "decomposed": ("Jose\u0301", "Jos\u00e9"),
    "family": (FAMILY, FAMILY),
    "flag of England": (ENGLAND, ENGLAND),
    "flag of Brazil": ("🇧🇷 Ana", "🇧🇷 Ana"),
    "keycap": ("1\ufe0f\u20e3", "1\ufe0f\u20e3"),
    "heart": ("❤\ufe0f", "❤\ufe0f"),
    "younger emoji": ("\U0001fae9", "\U0001fae9"),
    "Persian": ("می\u200cخواهم", "می\u200cخواهم"),
    "Arabic with a mark": ("سعر \u200f100", "سعر \u200f100"),
    "Hebrew with points": ("שָׁלוֹם", None),
    "Devanagari": ("क्\u200dष", "क्\u200dष"),
    "Sinhala": ("ශ්\u200dරී", "ශ්\u200dරී"),
    "Burmese": ("ရှမ်းပြည်", None),
    "Thai": ("กำลัง", "กำลัง"),
    "rare ideograph": ("𠮷野", "𠮷野"),
}
#: A text that no kind takes, and a word of the rule that it breaks.
BAD = {
    "space": ("   ", "short|blank"),
    "no-break space": ("\u00a0", "short|blank"),
    "zero-width space": ("\u200b", "blank"),
    "word joiner": ("\u2060", "blank"),
    "byte order mark": ("\ufeff", "blank"),
    "soft hyphen": ("\u00ad", "blank"),
    "joiner alone": ("\u200d", "blank"),
    "Hangul filler": ("\u3164", "blank"),
    "Hangul jamo fillers": ("\u115f\u1160", "blank"),
    "half-width filler": ("\uffa0", "blank"),
    "empty braille": ("\u2800", "blank"),
    "variation selector": ("\ufe0f", "blank"),
    "mark alone": ("\u0301", "blank"),
    "tags alone": ("\U000e0041\U000e007f", "blank"),
    "reserved": ("\ufff0", "blank"),
    "escape": ("a\x1b[31m", "control"),
    "delete": ("a\x7fb", "control"),
    "next line": ("a\x85b", "control"),
    "tab": ("a\tb", "control"),
    "carriage return": ("a\rb", "control"),
    "line separator": ("a\u2028b", "U\\+2028"),
    "paragraph separator": ("a\u2029b", "U\\+2028"),
    "override": ("gpj\u202eexe", "reorder"),
    "embedding": ("a\u202ab\u202c", "reorder"),
    "isolate": ("a\u2066b\u2069", "reorder"),
    "deprecated control": ("a\u206ab", "reorder"),
    "hidden tags": ("a\U000e0061\U000e0062", "tag"),
    "tags on another flag": ("🏳\U000e0067\U000e007f", "tag"),
    "annotation": ("a\ufff9b", "annotation"),
    "private use": ("a\ue000", "private"),
    "noncharacter": ("a\ufdd0", "private"),
    "joiner after a space": ("a \u200db", "joiner"),
    "two joiners": ("a\u200d\u200db", "joiner"),
    "stacked marks": ("a" + "\u0301" * 12, "marks"),
}
#: Free texts of inputs that have no `x-text`, and why.
NOT_READ_BY_OTHERS = {
    ("RefreshRequest", "refreshToken"): "a secret of ours",
    ("DeleteMeRequest", "password"): "a secret, hashed or compared",
    ("SecondFactorRequest", "password"): "a secret, hashed or compared",
    ("RegisterRequest", "password"): "a secret, hashed",
    ("ResetPasswordRequest", "newPassword"): "a secret, hashed",
    ("LocalDescription", "sdp"): "SDP has line breaks; browsers parse it and show nothing of it",
    ("LocalCandidate", "candidate"): "ICE, which browsers parse",
    ("LocalCandidate", "sdpMid"): "ICE, which browsers parse",
    ("LocalCandidate", "usernameFragment"): "ICE, which browsers parse",
    ("LoginRequest", "password"): "hashed",
    ("LoginRequest", "deviceProof"): "signed here, and checked",
    **dict.fromkeys(
        [
            ("EmailChangeRequest", "password"),
            ("IdentityRequest", "password"),
            ("IdTokenLoginRequest", "password"),
            ("PasskeyRegistrationRequest", "password"),
            ("PasswordChangeRequest", "password"),
            ("PasswordChangeRequest", "newPassword"),
        ],
        "a secret, hashed or compared",
    ),
    **{
        (name, "credentialJson"): "the answer of an authenticator, parsed and verified"
        for name in (
            *("DeleteMeRequest", "EmailChangeRequest", "EmailCodeLoginRequest", "IdentityRequest", "LoginRequest"),
            *("PasskeyRegistration", "PasskeyLoginRequest", "PasskeyRegistrationRequest", "PasswordChangeRequest"),
            *("IdTokenLoginRequest", "SecondFactorAnswer"),
        )
    },
    ("EmailCodeRequest", "deviceProof"): "signed here, and checked",
    ("EmailCodeLoginRequest", "deviceProof"): "signed here, and checked",
    ("PictureDecision", "avatarUrl"): "compared with the address of the picture, and not stored",
}


def free_texts(name: str, schema: dict[str, Any], document: dict[str, Any], field: str = "") -> Iterator[Any]:
    """Yield (schema, field, leaf) for each string of an input that no list, no pattern and no format of ids bounds."""
    schema = schemas.resolve(schema, document)
    for key, each in schema.get("properties", {}).items():
        yield from free_texts(name, each, document, key)
    for key in ("items",):
        if key in schema:
            yield from free_texts(name, schema[key], document, field)
    for each in (*schema.get("oneOf", ()), *schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from free_texts(name, each, document, field)
    if "string" in (schema.get("type"), *_list(schema.get("type"))) and not (
        {"enum", "pattern"} & schema.keys() or schema.get("format") == "uuid"
    ):
        yield name, field, schema


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def inputs() -> list[Any]:
    found = []
    openapi, asyncapi = schemas.load(schemas.OPENAPI), schemas.load(schemas.ASYNCAPI)
    for schema in json_body_schemas(openapi).values():
        found += list(free_texts(schema["$ref"].rpartition("/")[2], schema, openapi))
    for operation in asyncapi["operations"].values():
        if operation["action"] == "receive":
            payload = schemas.follow(operation["messages"][0], asyncapi)["payload"]
            found += list(free_texts(payload["$ref"].rpartition("/")[2], payload, asyncapi))
    return found


def test_every_free_text_input_has_a_kind() -> None:
    """A string that a client sends has a list, a pattern, `x-text`, or a reason to have none."""
    without = {(name, field) for name, field, leaf in inputs() if "x-text" not in leaf}
    assert without == NOT_READ_BY_OTHERS.keys()
    kinds = {(name, field): leaf["x-text"] for name, field, leaf in inputs() if "x-text" in leaf}
    assert kinds["MeUpdate", "displayName"] == kinds["FindPartner", "topic"] == kinds["CourseDraft", "title"] == "line"
    assert kinds["MeUpdate", "bio"] == kinds["ReportRequest", "description"] == kinds["BanRequest", "reason"]


def test_each_kind_of_text_has_one_schema() -> None:
    """What is stored of a field is held to the same schema wherever it is sent."""
    by_field: dict[str, set[str]] = {}
    for name, field, leaf in inputs():
        if "x-text" in leaf and field != "reason":  # of bans and of refunds
            by_field.setdefault(f"{name.removesuffix('Draft').removesuffix('Update')}.{field}", set()).add(str(leaf))
    assert all(len(found) == 1 for found in by_field.values()), by_field


@pytest.fixture(scope="module")
async def both(settings: Settings) -> Any:
    """The app with the compiled REST path, and the app in which connexion answers everything."""
    made = [Container(settings.model_copy(update={"rest_fast_path": fast})) for fast in (True, False)]
    async with made[0].lifespan(None), made[1].lifespan(None):
        yield [app.create(each) for each in made]


@pytest.fixture
async def paths(both: Any, make_learner: MakeLearner) -> Any:
    ada = await make_learner()
    found = [client(each) for each in both]
    for each in found:
        each.headers["Authorization"] = f"Bearer {ada.access_token}"
    yield found
    for each in found:
        await each.aclose()


@pytest.mark.parametrize("name", GOOD)
async def test_valid_text_is_accepted_by_all_entry_points(name: str, paths: list[httpx.AsyncClient]) -> None:
    sent, stored = GOOD[name]
    for http in paths:
        answer = await http.patch("/users/me", json={"displayName": sent, "bio": f"{sent}\r\n\n{sent}"})
        assert answer.status_code == 200, answer.text
        line = texts.normalize(sent, texts.Kind.LINE) if stored is None else stored
        assert answer.json()["displayName"] == line
        bio = texts.normalize(f"{sent}\n\n{sent}", texts.Kind.PARAGRAPHS)
        assert answer.json()["bio"] == bio and "\r" not in bio
        assert (await http.get("/users/me")).json()["displayName"] == line


@pytest.mark.parametrize("name", BAD)
async def test_invalid_text_is_refused_by_all_entry_points(name: str, paths: list[httpx.AsyncClient]) -> None:
    """The problem names the field and the rule, never the text, and is the same over both REST paths."""
    sent, rule = BAD[name]
    answers = [await http.patch("/users/me", json={"displayName": sent}) for http in paths]
    assert {answer.status_code for answer in answers} == {400}
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["code"] == "request_invalid"
    detail = answers[0].json()["detail"]
    assert detail.startswith("'displayName' ")
    assert any(word in detail for word in rule.replace("\\", "").split("|")), detail


@pytest.mark.parametrize("line", ["a\nb", "a\r\nb"])
async def test_line_breaks_are_valid_in_paragraphs_alone(line: str, paths: list[httpx.AsyncClient]) -> None:
    for http in paths:
        refused = await http.patch("/users/me", json={"displayName": line})
        assert refused.json()["detail"] == "'displayName' may not contain control characters or line breaks"
        assert (await http.patch("/users/me", json={"bio": line})).json()["bio"] == "a\nb"
        refused = await http.patch("/users/me", json={"bio": "a\u202eb"})
        assert refused.status_code == 400 and "'bio'" in refused.json()["detail"]


async def test_text_length_is_that_of_the_stored_form(paths: list[httpx.AsyncClient]) -> None:
    """U+FB2C becomes three characters in NFC, which no limit of a column may meet first."""
    for http in paths:
        assert (await http.patch("/users/me", json={"displayName": "\ufb2c" * 20})).status_code == 200
        refused = await http.patch("/users/me", json={"displayName": "\ufb2c" * 21})
        assert refused.status_code == 400 and "most is 60" in refused.json()["detail"]
        assert (await http.patch("/users/me", json={"bio": " "})).json()["bio"] == ""


async def test_topic_of_find_partner_follows_the_rule(make_phone: MakePhone) -> None:
    phone = await make_phone()
    for name, (sent, rule) in BAD.items():
        ack = await phone.send("find_partner", {"topic": sent})
        assert ack["ok"] is False and ack["error"]["code"] == "bad_payload", name
        assert ack["error"]["message"].startswith("'topic' "), name
        assert any(word in ack["error"]["message"] for word in rule.replace("\\", "").split("|")), ack
    for name, (sent, _) in GOOD.items():
        # Refused or matched by what else is searched for at the time: the topic is one that is nobody else's.
        ack = await phone.send("find_partner", {"topic": f"{sent} {uuid.uuid4().hex[:8]}"})
        assert ack == {"ok": True}, (name, ack)
        assert (await phone.send("cancel_search"))["ok"], name


async def test_stored_invalid_texts_are_still_read(
    container: Container, make_learner: MakeLearner, paths: list[httpx.AsyncClient]
) -> None:
    ada = await make_learner()
    await rows(
        container,
        "UPDATE profiles SET display_name = :n, bio = CAST(:b AS text) WHERE user_id = :i RETURNING 1",
        n="a\u202e\nb",
        b="a\u202e\nb",
        i=uuid.UUID(ada.id),
    )
    for http in paths:
        answer = await http.get(f"/users/{ada.id}/public")
        assert answer.status_code == 200 and answer.json()["displayName"] == "a\u202e\nb"


async def test_operator_texts_follow_the_rule(container: Container, make_learner: MakeLearner) -> None:
    admin = await make_admin(container, (await make_learner(ready=False)).http)
    course = {"title": "a\u202eb", "price": 0, "level": "beginner"}
    assert "'title'" in (await admin.http.post("/courses", json=course)).json()["detail"]
    made = await new_course(admin.http, title=f" {FAMILY} ", description="one\r\ntwo")
    shown = (await admin.http.get(f"/courses/{made}")).json()
    assert (shown["title"], shown["description"]) == (FAMILY, "one\ntwo")
    lesson = await admin.http.post(f"/courses/{made}/lessons", json={"title": "\u200b"})
    assert lesson.status_code == 400 and "'title' is blank" in lesson.json()["detail"]
    learner = await make_learner()
    ban = await admin.http.patch(f"/admin/users/{learner.id}/ban", json={"reason": "abc\u2028"})
    assert ban.status_code == 400 and "'reason'" in ban.json()["detail"]


# --- Names of files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (f"{FAMILY} & „Wörter“.pdf", f"{FAMILY} & „Wörter“.pdf"),
        ("می\u200cخواهم.pdf", "می\u200cخواهم.pdf"),
        ("Jose\u0301.pdf", "Jos\u00e9.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\words.pdf", "words.pdf"),
        (".htaccess", "htaccess"),
        ("..", "file"),
        ("words.pdf. ", "words.pdf"),
    ],
)
async def test_file_names_are_kept(sent: str, stored: str, container: Container, make_learner: MakeLearner) -> None:
    admin = await make_admin(container, (await make_learner(ready=False)).http)
    lesson = await new_lesson(admin.http, await new_course(admin.http))
    made = await admin.http.post(f"/lessons/{lesson}/attachments", **upload(b"%PDF-1.7", sent, "text/html"))
    assert made.status_code == 201, made.text
    assert made.json()["name"] == stored
    async with http_client() as anybody:
        header = (await anybody.get(made.json()["url"])).headers["content-disposition"]
    plain, _, extended = header.partition("; filename*=UTF-8''")
    assert httpx.URL(f"http://x/?{extended}").query.decode() == extended and extended.isascii()
    from urllib.parse import unquote

    assert unquote(extended) == stored
    assert plain.startswith('attachment; filename="') and plain.endswith('"') and plain.isascii()


async def test_long_file_name_fits_and_keeps_its_end(container: Container, make_learner: MakeLearner) -> None:
    admin = await make_admin(container, (await make_learner(ready=False)).http)
    lesson = await new_lesson(admin.http, await new_course(admin.http))
    made = await admin.http.post(f"/lessons/{lesson}/attachments", **upload(b"x", FAMILY * 20 + ".pdf", "text/html"))
    name = made.json()["name"]
    assert len(name.encode()) <= 255 and name.endswith("….pdf")
    assert set(name.removesuffix("….pdf").split(FAMILY)) == {""}


@pytest.mark.parametrize("sent", ["cod\u202efdp.exe", "a\u2028b.pdf", "\u200b", "a\x7f.pdf"])
async def test_bad_file_name_is_refused(sent: str, container: Container, make_learner: MakeLearner) -> None:
    admin = await make_admin(container, (await make_learner(ready=False)).http)
    lesson = await new_lesson(admin.http, await new_course(admin.http))
    made = await admin.http.post(f"/lessons/{lesson}/attachments", **upload(b"x", sent, "text/html"))
    assert made.status_code == 400 and made.json()["detail"].startswith("the name of 'file' "), made.text
    assert await value(container, "SELECT count(*) FROM lesson_attachments WHERE lesson_id = :i", i=lesson) == 0
