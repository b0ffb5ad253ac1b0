"""Invitations in Redis: their deadlines, who has an open one, and the rooms that they become.

    {match}:inviting:{userId}   the open invitation of an inviter
    {match}:invited:{userId}    the open invitations to a user
    {match}:due                 further deadlines: invite:{invitationId}, when it expires, and inviter:{invitationId},
                                when it is over unless the inviter has a connection

PostgreSQL has the invitations (models/invitation.py); a Redis that has lost these keys gets them again from there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import orjson

from adapters.redis_pipeline import RedisPipeline
from models import Level
from services.bus_messages import get_process_id
from services.calls.outcomes import Partner
from services.calls.room_state import QueueEntry
from services.calls.rooms import ROOM_SECONDS

#: The deadline comes when PostgreSQL, whose clock decides, has the invitation as expired.
_DEADLINE_SLACK_MS = 250
#: A dropped inviter has this time to connect again.
INVITER_GRACE = timedelta(seconds=5)


class RoomBusy(Exception):
    """A learner is in a room already."""

    def __init__(self, *, is_inviter: bool) -> None:
        super().__init__()
        self.is_inviter = is_inviter


class RoomAnswered(Exception):
    """Both are in the room of this invitation already: another answer was quicker."""


class EndedSearch(NamedTuple):
    """A search that ended with the room; `entry` has its position in the queue."""

    entry: QueueEntry

    @property
    def socket_id(self) -> str:
        return self.entry["socket"]


class InvitedRooms:
    def __init__(self, pipeline: RedisPipeline, *, join: timedelta) -> None:
        """`join` is how long a match waits for both to join."""
        self._pipeline = pipeline
        self._join_ms = join // timedelta(milliseconds=1)

    async def create(
        self,
        room_id: str,
        session_id: str,
        invitation_id: str,
        topic: str | None,
        level: Level,
        inviter: Partner,
        invitee: Partner,
    ) -> list[EndedSearch]:
        """Make the room of an invitation, and take both out of the queue; return the searches that ended.

        Raises RoomBusy or RoomAnswered.
        """
        entries: list[str | bytes] = []
        for each in (inviter, invitee):
            entries += (each.user_id, _build_entry(each, level, topic, invitation_id))
        room = (room_id, session_id, self._join_ms, ROOM_SECONDS, topic or "", level, invitation_id)
        answer: list[Any] = await self._pipeline.call("create_room", ["{match}:due"], (*room, *entries))
        match answer:
            case ["busy", index]:
                raise RoomBusy(is_inviter=int(index) == 1)
            case ["answered"]:
                raise RoomAnswered
        pairs = zip(answer[1::2], answer[2::2], strict=True)
        found: list[EndedSearch] = []
        for entry_json, since in pairs:
            if entry_json:
                entry: QueueEntry = orjson.loads(entry_json)
                found.append(EndedSearch({**entry, "since": int(since)}))
        return found

    async def note(self, invitation_id: str, inviter_id: str, invitee_id: str, left: timedelta) -> None:
        """Note an open invitation, and that it ends in a time."""
        left_ms = max(0, left // timedelta(milliseconds=1)) + _DEADLINE_SLACK_MS
        keys = _keys(inviter_id, invitee_id)
        await self._pipeline.call("note_invitation", keys, (invitation_id, left_ms), idempotent=True)

    async def forget(self, invitation_id: str, inviter_id: str, invitee_id: str) -> None:
        """Forget an invitation that is over."""
        keys = _keys(inviter_id, invitee_id)
        await self._pipeline.call("forget_invitation", keys, (invitation_id,), idempotent=True)

    async def read_own(self, user_id: str) -> str | None:
        """Read the id of the open invitation that a user has sent."""
        found: str | None = await self._pipeline.execute("GET", f"{{match}}:inviting:{user_id}", idempotent=True)
        return found

    async def await_inviter(self, invitation_id: str) -> None:
        """Set the time until which an inviter without a connection has to be back."""
        seconds, microseconds = await self._pipeline.execute("TIME", idempotent=True)
        at_ms = int(seconds) * 1000 + int(microseconds) // 1000 + INVITER_GRACE // timedelta(milliseconds=1)
        await self._pipeline.execute("ZADD", "{match}:due", at_ms, f"inviter:{invitation_id}", idempotent=True)

    async def remove_deadline(self, *entry: str) -> None:
        await self._pipeline.execute("ZREM", "{match}:due", ":".join(entry), idempotent=True)

    async def list_sockets(self, user_id: str) -> list[str]:
        """List a user's sockets of web processes that are alive, the newest last."""
        found: list[str] = await self._pipeline.execute(
            "ZRANGE", f"user:{{match}}:{user_id}:sockets", 0, -1, idempotent=True
        )
        processes = {get_process_id(each): f"worker:{{match}}:{get_process_id(each)}" for each in found}
        if not processes:
            return []
        heartbeats = await self._pipeline.execute("MGET", *processes.values(), idempotent=True)
        alive = {each for each, seen in zip(processes, heartbeats, strict=True) if seen is not None}
        return [each for each in found if get_process_id(each) in alive]

    async def has_foreground(self, user_id: str) -> bool:
        """Whether an app of the user is connected and in the foreground."""
        sockets = await self.list_sockets(user_id)
        if not sockets:
            return False
        key = f"user:{{match}}:{user_id}:background"
        hidden = await self._pipeline.execute("SMISMEMBER", key, *sockets, idempotent=True)
        return not all(map(int, hidden))


def _keys(inviter_id: str, invitee_id: str) -> list[str]:
    return ["{match}:due", f"{{match}}:inviting:{inviter_id}", f"{{match}}:invited:{invitee_id}"]


def _build_entry(partner: Partner, level: Level, topic: str | None, invitation_id: str) -> bytes:
    """Build what a room keeps of a participant until they have joined: nothing continues where they do not."""
    entry: QueueEntry = {
        "userId": partner.user_id,
        "socket": partner.socket_id,
        "level": level,
        "topic": topic or "",
        "card": {"displayName": partner.display_name, "avatarUrl": partner.avatar_url, "level": partner.level},
        "invitation": invitation_id,
    }
    return orjson.dumps(entry)
