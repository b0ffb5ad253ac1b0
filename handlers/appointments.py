"""Appointments: times at which two partners meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers import shapes
from services.identity.logins import Identity
from services.people.appointments import Proposal
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def list_appointments(
    services: Container, identity: Identity, limit: int, cursor: str | None = None
) -> rest.AppointmentPage:
    page = await services.appointments.list_for_user(identity.user_id, limit=limit, cursor=cursor)
    return shapes.page(page, shapes.appointment)


async def propose_appointment(
    services: Container, identity: Identity, body: rest.AppointmentProposal
) -> rest.Appointment:
    proposal: Proposal = {
        "partner_id": body["partnerId"],
        "local_time": body["localTime"],
        "timezone": body["timezone"],
        "utc_offset": body.get("utcOffset"),
        "duration_minutes": body["durationMinutes"],
        "note": body.get("note"),
    }
    return shapes.appointment(await services.appointments.propose(identity.user_id, proposal))


async def cancel_appointment(services: Container, identity: Identity, appointment_id: str) -> None:
    await services.appointments.cancel(identity.user_id, appointment_id)


async def accept_appointment(services: Container, identity: Identity, appointment_id: str) -> rest.Appointment:
    return shapes.appointment(await services.appointments.accept(identity.user_id, appointment_id))


async def decline_appointment(services: Container, identity: Identity, appointment_id: str) -> rest.Appointment:
    return shapes.appointment(await services.appointments.decline(identity.user_id, appointment_id))
