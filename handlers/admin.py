"""Administration."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import errors
from handlers import shapes
from models import SanctionGround, SanctionKind
from services.identity.logins import Identity
from services.safety.reports import ReportSanction
from services.safety.sanctions import SanctionOrder
from services.safety.standings import SanctionNotice
from wire import rest

if TYPE_CHECKING:
    from container import Container


#: How recent the second factor of who bans must be; equal to `x-second-factor` of `banUser`.
BAN_FACTOR_AGE = timedelta(minutes=10)


async def get_admin_stats(services: Container) -> rest.AdminStats:
    return shapes.admin_stats(await services.dashboard.read())


async def list_admin_users(
    services: Container,
    limit: int,
    search: str | None = None,
    is_banned: bool | None = None,
    is_flagged: bool | None = None,
    role: str | None = None,
    is_verified: bool | None = None,
    cursor: str | None = None,
) -> rest.AdminUserPage:
    page = await services.user_directory.list_all(
        limit=limit, search=search, banned=is_banned, flagged=is_flagged, role=role, verified=is_verified, cursor=cursor
    )
    return shapes.page(page, shapes.admin_user)


async def get_admin_user(services: Container, identity: Identity, user_id: str) -> rest.AdminUserDetail:
    found = await services.user_directory.read(user_id, with_orders=identity.role == "admin")
    return shapes.admin_user_detail(found)


async def list_admin_reports(
    services: Container,
    limit: int,
    status: str | None = None,
    reporter_id: str | None = None,
    reported_id: str | None = None,
    is_urgent: bool | None = None,
    is_overdue: bool | None = None,
    cursor: str | None = None,
    order: str = "newest",
) -> rest.AdminReportPage:
    return shapes.admin_report_page(
        await services.reports.list_all(
            limit=limit,
            status=status,
            reporter_id=reporter_id,
            reported_id=reported_id,
            urgent=is_urgent,
            overdue=is_overdue,
            cursor=cursor,
            order=order,
        )
    )


async def review_report(
    services: Container, identity: Identity, report_id: str, body: rest.ReportReview
) -> rest.AdminReport:
    sanction = _report_sanction(body.get("sanction"))
    if body.get("isBanned") or (sanction and sanction.kind is not SanctionKind.WARNING):
        services.second_factors.check(identity, BAN_FACTOR_AGE)
    report = await services.reports.review(
        identity.user_id,
        report_id,
        status=body.get("status"),
        admin_note=body.get("adminNote"),
        ban=body.get("isBanned", False),
        sanction=sanction,
    )
    return shapes.admin_report(report)


def _report_sanction(body: rest.ReportSanction | None) -> ReportSanction | None:
    if body is None:
        return None
    ground = body.get("ground")
    return ReportSanction(
        SanctionKind(body["kind"]), body["facts"], body.get("days"), SanctionGround(ground) if ground else None
    )


async def list_pictures(services: Container, limit: int, cursor: str | None = None) -> rest.AdminPicturePage:
    return shapes.page(await services.pictures.list_waiting(limit=limit, cursor=cursor), shapes.admin_picture)


async def decide_picture(services: Container, identity: Identity, user_id: str, body: rest.PictureDecision) -> None:
    await services.pictures.decide(identity.user_id, user_id, body["avatarUrl"], body["outcome"], body.get("note"))


async def ban_user(services: Container, identity: Identity, user_id: str, body: rest.BanRequest) -> None:
    await services.sanctions.ban(identity.user_id, user_id, body["reason"])


async def unban_user(services: Container, identity: Identity, user_id: str) -> None:
    await services.sanctions.unban(identity.user_id, user_id)


async def list_user_sanctions(
    services: Container, user_id: str, limit: int, cursor: str | None = None
) -> rest.AdminSanctionPage:
    page = await services.sanctions.list_for_account(user_id, limit=limit, cursor=cursor)
    return shapes.page(page, shapes.admin_sanction)


async def create_sanction(
    services: Container, identity: Identity, user_id: str, body: rest.SanctionRequest
) -> rest.AdminSanction:
    report_id = body.get("reportId")
    order = SanctionOrder(
        SanctionKind(body["kind"]),
        SanctionGround(body["ground"]),
        body["facts"],
        body.get("days"),
        uuid.UUID(report_id) if report_id else None,
    )
    sanction = await services.sanctions.issue(identity.user_id, user_id, order)
    return shapes.admin_sanction(SanctionNotice(sanction, None))


async def lift_sanction(
    services: Container, identity: Identity, sanction_id: str, body: rest.LiftRequest
) -> rest.AdminSanction:
    return shapes.admin_sanction(await services.sanctions.lift(identity.user_id, sanction_id, body["reason"]))


async def list_appeals(
    services: Container, limit: int, status: str | None = None, cursor: str | None = None
) -> rest.AdminAppealPage:
    page = await services.appeals.list_all(limit=limit, status=status, cursor=cursor)
    return shapes.page(page, shapes.admin_appeal)


async def decide_appeal(
    services: Container, identity: Identity, appeal_id: str, body: rest.AppealDecision
) -> rest.AdminAppeal:
    decided = await services.appeals.decide(identity.user_id, appeal_id, body["outcome"], body["reason"])
    return shapes.admin_appeal(decided)


async def list_admin_orders(
    services: Container,
    limit: int,
    status: str | None = None,
    provider: str | None = None,
    user_id: str | None = None,
    is_disputed: bool | None = None,
    cursor: str | None = None,
) -> rest.AdminOrderPage:
    page = await services.orders.list_all(
        limit=limit, status=status, provider=provider, user_id=user_id, disputed=is_disputed, cursor=cursor
    )
    return shapes.page(page, shapes.admin_order)


async def refund_order(services: Container, identity: Identity, order_id: str, body: rest.RefundRequest) -> rest.Refund:
    refund = await services.refunds.create(identity.user_id, order_id, body.get("amount"), body.get("reason"))
    return shapes.refund(refund)


async def list_audit_entries(
    services: Container,
    identity: Identity,
    limit: int,
    actor_id: str | None = None,
    action: str | None = None,
    target_id: str | None = None,
    cursor: str | None = None,
) -> rest.AuditEntryPage:
    if identity.role != "admin":
        if actor_id not in (None, identity.user_id):
            raise errors.Forbidden("Moderators read their own entries; leave actorId out.")
        actor_id = identity.user_id
    page = await services.audit.list_all(
        limit=limit, actor_id=actor_id, actions=(action,) if action else (), target_id=target_id, cursor=cursor
    )
    return shapes.page(page, shapes.audit_entry)


async def list_staff(services: Container, limit: int, cursor: str | None = None) -> rest.StaffPage:
    return shapes.page(await services.staff.list_all(limit=limit, cursor=cursor), shapes.staff_account)


async def list_staff_logins(services: Container, identity: Identity, user_id: str) -> rest.StaffLoginList:
    logins = await services.staff.list_logins(user_id)
    return {"items": [shapes.staff_login(each, identity.family_id) for each in logins]}


async def end_staff_login(services: Container, identity: Identity, user_id: str, login_id: str) -> None:
    await services.staff.end_login(identity.user_id, user_id, login_id)
