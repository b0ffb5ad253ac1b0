"""Evidence of reports: what is stored with one, and with all that are pending about a learner."""

from __future__ import annotations

import hmac
import ipaddress
import uuid
from collections import defaultdict
from datetime import timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.database import Database
from models import CallSession, RefreshToken, Report, ReportStatus, User
from services.safety.hidden_pictures import REASONS as PICTURE_REASONS
from services.safety.report_weights import Evidence, Record, find_heaviest, weigh

#: Pending reports of a learner that are assessed, the newest; and whose other reports are read.
MAX_ASSESSED_REPORTS = 500
#: How long a reviewed report is part of its reporter's record, and a call of the learner's partners.
_RECORD_AGE, _PARTNERS_AGE = timedelta(days=365), timedelta(days=90)
#: A shorter device id is one that many clients send, such as `phone`.
_MIN_DEVICE_ID_LENGTH = 16
#: Sizes of the network of a subscriber or an office.
_IPV4_BITS, _IPV6_BITS = 24, 64

_RECORDS = sa.text(
    """
    SELECT reporter_id, count(DISTINCT reported_id) FILTER (WHERE status = 'actioned'),
           count(*) FILTER (WHERE status = 'dismissed')
    FROM reports WHERE reporter_id = ANY(:reporters) AND created_at > now() - CAST(:age AS interval) GROUP BY 1
    """
)
# A learner whom a review found guilty is what honest reporters have in common.
_OTHER_TARGETS = sa.text(
    """
    SELECT DISTINCT reporter_id, reported_id FROM reports
    WHERE reporter_id = ANY(:reporters) AND reported_id <> :reported AND created_at > now() - CAST(:age AS interval)
      AND NOT EXISTS (SELECT FROM reports AS c WHERE c.reported_id = reports.reported_id AND c.status = 'actioned')
    """
)
_PARTNERS = sa.text(
    """
    SELECT count(DISTINCT partner) FROM (
        SELECT user_b_id AS partner, connected_at, duration_seconds FROM call_sessions
        WHERE user_a_id = :reported AND started_at > now() - CAST(:age AS interval)
        UNION ALL
        SELECT user_a_id, connected_at, duration_seconds FROM call_sessions
        WHERE user_b_id = :reported AND started_at > now() - CAST(:age AS interval)
    ) AS calls
    WHERE coalesce(duration_seconds, extract(epoch FROM now() - connected_at)) >= 30
    """
)


class CallEvidence(NamedTuple):
    """The call that a report is about: how long it had been connected (None: never), and how many days ago it began."""

    seconds: int | None
    days: int


class Reporter(NamedTuple):
    """Keyed hashes by which two accounts of one person are recognized."""

    device: str | None
    network: str | None


class PendingReports(NamedTuple):
    """Pending reports of a learner, each with its evidence at the same position, and the number of recent partners."""

    reports: list[Report]
    evidence: list[Evidence]
    partners: int


def hash_trait(key: bytes, kind: str, value: str) -> str:
    """Hash a trait so that equal ones are equal, and nobody without the key can try addresses."""
    return hmac.digest(key, f"{kind}\0{value}".encode(), "sha256").hex()[:32]


def find_network(address: str) -> str | None:
    """Return the network of an address: /24 of IPv4, /64 of IPv6; None for what is no address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    bits = _IPV4_BITS if found.version == 4 else _IPV6_BITS
    return str(ipaddress.ip_network((int(found), bits) if found.version == 6 else f"{found}/{bits}", strict=False))


async def read_reporter(db: AsyncSession, key: bytes, family_id: str, address: str) -> Reporter:
    """Read the device of the reporter's login, and hash it and the network of the address."""
    statement = select(RefreshToken.device_id).where(RefreshToken.family_id == uuid.UUID(family_id)).limit(1)
    device = (await db.exec(statement)).first()
    network = find_network(address)
    is_own = device is not None and len(device) >= _MIN_DEVICE_ID_LENGTH
    return Reporter(
        hash_trait(key, "device", str(device)) if is_own else None,
        hash_trait(key, "network", network) if network else None,
    )


async def find_call(
    db: AsyncSession, reporter: uuid.UUID, reported: uuid.UUID, session_id: str | None
) -> CallEvidence | None:
    """Find the call that a report is about: the named one, else the last that connected, else the last, if any."""
    together = sa.or_(
        sa.and_(col(CallSession.user_a_id) == reporter, col(CallSession.user_b_id) == reported),
        sa.and_(col(CallSession.user_a_id) == reported, col(CallSession.user_b_id) == reporter),
    )
    if session_id is not None:
        together = sa.and_(together, col(CallSession.id) == uuid.UUID(session_id))
    connected, now = col(CallSession.connected_at), sa.func.now()
    seconds = sa.func.extract("epoch", sa.func.coalesce(col(CallSession.ended_at), now) - connected)
    days = sa.func.extract("epoch", now - col(CallSession.started_at)) / 86400
    statement = (
        sa.select(seconds, days)
        .where(together)
        .order_by(connected.is_(None), col(CallSession.started_at).desc())
        .limit(1)
    )
    found = (await db.execute(statement)).first()
    if found is None:
        return None
    return CallEvidence(None if found[0] is None else max(0, int(found[0])), max(0, int(found[1])))


async def read_pending(db: AsyncSession, user_id: uuid.UUID) -> PendingReports:
    """Read and lock the pending reports of a learner, whose row is locked, with what their weights depend on."""
    pending = sa.and_(col(Report.reported_id) == user_id, col(Report.status) == ReportStatus.PENDING)
    # In the order in which the deletion of a reporter's account locks them.
    await db.execute(sa.select(col(Report.id)).where(pending).order_by(col(Report.id)).with_for_update())
    statement = (
        select(Report, User.created_at, User.deleted_at)
        .join(User, col(User.id) == col(Report.reporter_id))
        .where(pending)
        .order_by(col(Report.created_at).desc())
        .limit(MAX_ASSESSED_REPORTS)
    )
    rows = (await db.exec(statement)).all()
    if not rows:
        return PendingReports([], [], 0)
    reporters = list({report.reporter_id for report, *_ in rows})
    parameters = {"reporters": reporters, "reported": user_id, "age": _RECORD_AGE}
    records = {row[0]: Record(row[1], row[2]) for row in await db.execute(_RECORDS, parameters)}
    others: defaultdict[uuid.UUID, set[uuid.UUID]] = defaultdict(set)
    for reporter_id, reported_id in await db.execute(_OTHER_TARGETS, parameters):
        others[reporter_id].add(reported_id)
    partners = (await db.execute(_PARTNERS, {"reported": user_id, "age": _PARTNERS_AGE})).scalar_one()
    evidence = [
        Evidence(
            reporter_id=report.reporter_id,
            reason=report.reason.value,
            is_urgent=report.is_urgent,
            call_seconds=report.call_seconds,
            call_days=report.call_days,
            has_block=report.has_block,
            device=report.reporter_device,
            network=report.reporter_network,
            registered_at=registered_at,
            reported_at=report.created_at,
            record=records.get(report.reporter_id, Record()),
            also_reported=frozenset(others[report.reporter_id]),
            is_deleted=deleted_at is not None,
        )
        for report, registered_at, deleted_at in rows
    ]
    return PendingReports([report for report, *_ in rows], evidence, partners)


async def store_weights(db: AsyncSession, pending: PendingReports, rank: float) -> None:
    """Store the weight of each pending report, what it adds to the weight that hides a picture, and the rank."""
    heaviest = find_heaviest(pending.evidence, PICTURE_REASONS)
    for position, (report, each) in enumerate(zip(pending.reports, pending.evidence, strict=True)):
        report.weight, report.rank = weigh(each), rank
        report.picture_weight = report.weight if position in heaviest else 0.0
        db.add(report)
    await db.flush()


async def prune_traits(database: Database, after: timedelta, batch_rows: int = 1000) -> int:
    """Delete the reporters' traits of reports that are older than `after`, pending or not; return of how many."""
    statement = sa.text(
        "UPDATE reports SET reporter_device = NULL, reporter_network = NULL WHERE id IN (SELECT id FROM reports"
        " WHERE (reporter_device IS NOT NULL OR reporter_network IS NOT NULL)"
        " AND created_at < now() - CAST(:after AS interval)"
        " ORDER BY created_at LIMIT :rows FOR UPDATE SKIP LOCKED)"
    )
    pruned = 0
    while True:
        async with database.transaction() as db:
            result = await db.execute(statement, {"after": after, "rows": batch_rows})
        count = int(getattr(result, "rowcount", 0))
        pruned += count
        if count < batch_rows:
            return pruned
