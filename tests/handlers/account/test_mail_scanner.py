"""A mail scanner that opens every link of every kind of mail uses up no link and no code, and changes nothing."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import httpx

from adapters.ports import Mail
from testing.accounts import bearer, credentials, new_email
from testing.containers import run_jobs
from testing.databases import query
from testing.email_codes import change_email, confirm_change, request_change, request_code, undo, use_code
from testing.logins import Deployment, Visit, log_in, request_reset, reset_password
from testing.servers import PASSWORD

#: What one mail of each kind says in its subject.
KINDS = (
    "Confirm your e-mail address",
    "Set a new password",
    "Download your data or delete your account",
    "Your code to sign in to Parlance",
    "Your code to use this address at Parlance",
    "The address of your account was changed",
    "This is the new address of your account",
    "A change to how your account is signed in to",
)
_LINK = re.compile(r"""https?://[^\s"'<>]+""")


async def scan(http: httpx.AsyncClient, mails: list[Mail]) -> int:
    """Open each link with GET and HEAD, as scanners do, and follow redirects; return how many there are."""
    links = sorted({each for mail in mails for part in (mail.html, mail.text) for each in _LINK.findall(part)})
    for link in links:
        parts = urlsplit(link.replace("&amp;", "&"))
        for method in ("GET", "HEAD", "GET"):
            answer = await http.request(method, f"{parts.path}?{parts.query}", follow_redirects=True)
            assert answer.status_code == 200, (method, link, answer.status_code)
    return len(links)


async def read_state(deployment: Deployment, *user_ids: str) -> list[object]:
    """All that links and codes could change."""
    tables = {
        "users": "id, email, is_verified, password_hash, deleted_at, updated_at",
        "password_reset_tokens": "id, used",
        "email_verification_tokens": "id, used",
        "account_deletion_tokens": "id, used",
        "email_changes": "id, undone_at",
        "refresh_tokens": "id, revoked",
    }
    state: list[object] = []
    for table, columns in tables.items():
        key = "id" if table == "users" else "user_id"
        statement = f"SELECT {columns} FROM {table} WHERE {key}::text = ANY(:u) ORDER BY id"
        state += [tuple(row) for row in await query(deployment.services, statement, u=list(user_ids))]
    return [
        *state,
        *map(tuple, await query(deployment.services, "SELECT id, tries, used FROM email_codes ORDER BY id")),
    ]


async def test_scanner_spends_nothing(deployment: Deployment, visit: Visit) -> None:
    http, services, outbox = visit(), deployment.services, deployment.outbox
    old, moved = new_email(), new_email()
    changed = (await log_in(http, old, new=True)).json()
    await run_jobs(services)
    verified = outbox.tokens(old, "verify-email")[-1]
    assert (await http.post("/auth/verify-email", json={"token": verified})).status_code == 204
    await change_email(deployment, http, changed["accessToken"], moved)
    body = {"newPassword": "a brand new password", "proof": {"password": PASSWORD}}
    assert (await http.put("/users/me/password", json=body, headers=bearer(changed["accessToken"]))).status_code == 204

    email, fresh, leaver = new_email(), new_email(), new_email()
    account = (await log_in(visit(), email, new=True)).json()
    leaving = (await log_in(visit(), leaver, new=True)).json()
    await request_reset(visit(), email)
    await services.deletion_links.request(leaver)
    login = await request_code(deployment, visit(), new_email())
    change = await request_change(deployment, http, account["accessToken"], fresh)
    await run_jobs(services)

    mails = [mail for each in (old, moved, email, fresh, leaver, login.email) for mail in outbox.to(each)]
    seen = {kind for kind in KINDS if any(mail.subject.startswith(kind) for mail in mails)}
    assert seen == set(KINDS)
    users = (changed["user"]["id"], account["user"]["id"], leaving["user"]["id"])
    before = await read_state(deployment, *users)
    assert await scan(visit(), mails) >= 8
    assert await read_state(deployment, *users) == before

    token = outbox.tokens(email, "verify-email")[-1]
    assert (await visit().post("/auth/verify-email", json={"token": token})).status_code == 204
    assert (await confirm_change(http, account["accessToken"], change)).status_code == 204
    assert (await use_code(visit(), login)).status_code == 200
    assert (await undo(visit(), outbox.tokens(old, "undo-email-change")[-1])).status_code == 204
    await request_reset(visit(), fresh)
    await run_jobs(services)
    await scan(visit(), outbox.to(fresh))
    reset = outbox.tokens(fresh, "reset-password")[-1]
    assert (await reset_password(visit(), reset, "another new password")).status_code == 204
    again = credentials(fresh, password="another new password")
    assert (await visit().post("/auth/login", json=again)).status_code == 200
    page = await visit().post("/delete-account", data={"token": outbox.tokens(leaver, "delete-account")[-1]})
    assert page.status_code == 200 and "is deleted" in page.text


async def test_mails_with_codes_have_no_link_with_a_secret(deployment: Deployment, visit: Visit) -> None:
    """The links of such a mail lead to public pages."""
    mailed = await request_code(deployment, visit(), new_email())
    [mail] = deployment.outbox.to(mailed.email)
    links = {each for part in (mail.html, mail.text) for each in _LINK.findall(part)}
    assert links and not any(urlsplit(each).query or urlsplit(each).fragment for each in links)
    assert mailed.code not in "".join(links)
