"""Messages to the web processes that hold the sockets of searches and rooms."""

from __future__ import annotations

from adapters.ports import Bus
from services.bus_messages import Message
from services.calls.outcomes import OverReason
from services.calls.room_state import ClosedRoom, QueueEntry

#: The room is over, or the user's other socket has replaced this one with the join of that number: room, number.
ROOM_LEFT: Message[[str, int | None]] = Message("unseat")
#: A web process asks the one that holds the peer to join again: room, user, the count of joins that it knows.
JOIN_AGAIN: Message[[str, str, int]] = Message("join_again")

#: The search of a socket waits in the queue.
SEARCH_WAITS: Message[[QueueEntry]] = Message("search_waits")
#: The search of a socket has ended without a match.
SEARCH_OVER: Message[[]] = Message("search_over")
#: The search of a socket has ended with a match: user, the partner's name, room, session.
MATCHED: Message[[str, str, str, str]] = Message("matched")
#: The search of a socket may not be allowed any more, or was taken out of its queue: search again, or end it.
SEARCH_CHECK: Message[[]] = Message("search_check")
#: The call of a socket was ended, because its two learners may not meet.
PAIR_ENDED: Message[[]] = Message("pair_ended")
#: The match of a socket was ended, because its two learners may not meet: their search, unless Redis has lost it.
MATCH_REFUSED: Message[[QueueEntry | None]] = Message("match_refused")
#: An invitation is over, for a socket of one of the two: the invitation, and why.
INVITATION_ENDED: Message[[str, OverReason]] = Message("invitation_ended")


async def close_participants(bus: Bus, closed: ClosedRoom) -> None:
    """Let the web processes of a closed room's participants know that it is over."""
    for participant in closed.participants:
        if participant.socket_id:
            await ROOM_LEFT.send_if_there(bus, participant.socket_id, closed.room_id, None)
