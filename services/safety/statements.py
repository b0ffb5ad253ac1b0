"""Statements of reasons (DSA, article 17(3)): what was decided, for which facts and ground, and how to answer.

They are mailed by jobs that the decision enqueues, to accounts that are not deleted.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlmodel import select

from adapters.database import Database
from adapters.ports import Mailer
from digests import hash_token
from models import Appeal, AppealStatus, AppealTokenSource, Sanction, SanctionGround, SanctionKind, User
from services.identity.email_verification import can_receive_mail
from services.messaging import emails
from services.safety.standings import add_appeal_token

#: What each ground means, as the end of a sentence.
GROUNDS = {
    SanctionGround.HARASSMENT: "harassment, which the rules of conduct forbid",
    SanctionGround.SPAM: "spam or advertising, which the rules of conduct forbid",
    SanctionGround.INAPPROPRIATE: "sexual or otherwise inappropriate behaviour, which the rules of conduct forbid",
    SanctionGround.HATE_SPEECH: "hate speech, which the rules of conduct forbid",
    SanctionGround.MINOR_SAFETY: "behaviour that endangers minors, which the rules of conduct forbid",
    SanctionGround.THREAT: "threats or encouragement of violence or self-harm, which the rules of conduct forbid",
    SanctionGround.UNDERAGE: "an age below the one that the terms of use require",
    SanctionGround.FRAUD: "fraud, which the terms of use forbid",
    SanctionGround.OTHER: "a breach of the terms of use or the rules of conduct",
}
_NO_FACTS = "No description of the facts was written for this decision. An answer to an appeal will contain one."


class StatementsService:
    def __init__(self, database: Database, mailer: Mailer, site: str) -> None:
        """`site` is the origin of the links in mails."""
        self._database = database
        self._mailer = mailer
        self._site = site

    async def send_statement(self, sanction_id: str) -> None:
        """Mail the statement of reasons with a link for an appeal, unless the sanction was lifted meanwhile."""
        async with self._database.transaction() as db:
            sanction = await db.get(Sanction, uuid.UUID(sanction_id))
            user = await db.get(User, sanction.user_id) if sanction else None
            if sanction is None or user is None or user.deleted_at is not None or not can_receive_mail(user):
                return
            token = await add_appeal_token(db, sanction, AppealTokenSource.MAIL)
        if token is None:
            return
        reasons = describe_reasons(sanction)
        if sanction.kind is not SanctionKind.WARNING:
            # Who is kept out has no login for it (GDPR, articles 15, 17 and 20).
            reasons.append(f"You can still download your data or delete your account: {self._site}/delete-account")
        mail = emails.sanction_statement(
            user.email, describe_decision(sanction), reasons, f"{self._site}/appeal?token={token}"
        )
        # Of this attempt: another one has another token, and providers refuse another text under one key.
        await self._mailer.send(mail, idempotency_key=f"sanction-{hash_token(token)[:32]}")

    async def send_lift_notice(self, sanction_id: str) -> None:
        """Mail that a sanction was lifted."""
        async with self._database.transaction() as db:
            sanction = await db.get(Sanction, uuid.UUID(sanction_id))
            user = await db.get(User, sanction.user_id) if sanction else None
        if sanction is None or user is None or user.deleted_at is not None or not can_receive_mail(user):
            return
        sentences = [f"Your {sanction.kind.value} of {format_day(sanction.starts_at)} was lifted."]
        sentences += (sanction.lift_reason or "").splitlines()
        mail = emails.sanction_lifted(user.email, sanction.kind.value, sentences, self._site)
        await self._mailer.send(mail, idempotency_key=f"lift-{sanction.id}")

    async def send_decision(self, appeal_id: str) -> None:
        """Mail the decision about an appeal with its reasons (DSA, article 20(5))."""
        statement = (
            select(Appeal, Sanction, User)
            .join(Sanction, Sanction.id == Appeal.sanction_id)  # type: ignore[arg-type]
            .join(User, User.id == Sanction.user_id)  # type: ignore[arg-type]
            .where(Appeal.id == uuid.UUID(appeal_id))
        )
        async with self._database.transaction() as db:
            row = (await db.exec(statement)).first()
        if row is None or row[2].deleted_at is not None or not can_receive_mail(row[2]):
            return
        appeal, sanction, user = row
        mail = emails.appeal_decision(user.email, describe_outcome(appeal, sanction), self._site)
        await self._mailer.send(mail, idempotency_key=f"appeal-{appeal.id}")


def describe_decision(sanction: Sanction) -> str:
    """Write what was decided, for whom it holds and for how long (DSA, article 17(3)(a))."""
    if sanction.kind is SanctionKind.WARNING:
        return "You have received a warning. It does not restrict your account."
    if sanction.ends_at is not None:
        return (
            f"Your account is suspended until {format_moment(sanction.ends_at)}. Until then you cannot log in or talk."
        )
    return "Your account is banned, without an end. You cannot log in or talk."


def describe_reasons(sanction: Sanction) -> list[str]:
    """Write ground, facts, origin and redress (DSA, article 17(3)(b) to (f))."""
    facts = (sanction.facts or "").splitlines() if sanction.shows_facts else [_NO_FACTS]
    origin = "after a report" if sanction.report_id else "on our own initiative"
    return [
        f"The ground is {GROUNDS[sanction.ground]}.",
        *(line for line in facts if line.strip()),
        f"A person took this decision {origin}; no automated means decided.",
        f"You can appeal free of charge until {format_day(sanction.appeal_until)}. Another person than the one who"
        " decided will answer you.",
        "You can also turn to a certified body for out-of-court dispute settlement, or to a court.",
    ]


def describe_outcome(appeal: Appeal, sanction: Sanction) -> list[str]:
    """Write the decision about an appeal, its reasons and further redress (DSA, article 20(5))."""
    kind, day = sanction.kind.value, format_day(sanction.starts_at)
    reasons = [line for line in (appeal.decision_reason or "").splitlines() if line.strip()]
    if appeal.status is AppealStatus.OVERTURNED:
        return [f"Your appeal was successful: the {kind} of {day} is lifted.", *reasons]
    return [
        f"Your appeal was rejected: the {kind} of {day} stays.",
        *reasons,
        "You can turn to a certified body for out-of-court dispute settlement, or to a court.",
    ]


def format_day(at: datetime) -> str:
    return f"{at.day} {at:%B %Y}"


def format_moment(at: datetime) -> str:
    return f"{format_day(at)}, {at:%H:%M} UTC"
