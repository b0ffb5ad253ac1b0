"""Partners of tests, and invitations between them."""

from __future__ import annotations

import uuid
from typing import Any

from container import Container
from testing.calls import make_due
from testing.databases import query, rows
from testing.servers import Learner, Phone


async def make_partners(container: Container, one: Learner, other: Learner) -> None:
    """Make two learners partners, as if each had asked the other."""
    statement = "INSERT INTO partner_wishes (user_id, wished_id) VALUES (:a, :b), (:b, :a) ON CONFLICT DO NOTHING"
    await query(container, statement, a=uuid.UUID(one.id), b=uuid.UUID(other.id))


async def invite(inviter: Phone, invitee: Phone, **topic: str) -> str:
    """Invite a partner, who receives it; return the id of the invitation."""
    ack = await inviter.send("invite_partner", {"userId": invitee.learner.id, **topic})
    assert ack["ok"], ack
    received = await invitee.wait_for("invitation")
    assert received["invitationId"] == ack["invitationId"]
    assert received["partner"]["userId"] == inviter.learner.id
    return str(ack["invitationId"])


async def answer(phone: Phone, invitation_id: str, *, is_accepted: bool) -> dict[str, Any]:
    return await phone.send("answer_invitation", {"invitationId": invitation_id, "isAccepted": is_accepted})


async def expire_invitation(container: Container, invitation_id: str) -> None:
    """Let the time of an invitation be over."""
    statement = "UPDATE invitations SET expires_at = now() WHERE id = :id"
    await query(container, statement, id=uuid.UUID(invitation_id))
    await make_due(container, f"invite:{invitation_id}")


async def read_state(container: Container, invitation_id: str) -> str:
    found = await rows(container, "SELECT state FROM invitations WHERE id = :id", id=uuid.UUID(invitation_id))
    return str(found[0][0])


async def list_calls(container: Container, *user_ids: str) -> list[Any]:
    """List the calls among some learners, with their rooms."""
    statement = """
        SELECT room_id, user_a_id, user_b_id, connected_at, ended_at, ended_by, origin FROM call_sessions
        WHERE user_a_id = ANY(:users) OR user_b_id = ANY(:users) ORDER BY started_at"""
    return list(await rows(container, statement, users=[uuid.UUID(each) for each in user_ids]))
