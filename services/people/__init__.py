"""People whom a learner knows: partners, their presence, and appointments."""

from models import Appointment, PartnerWish

TAGS = ("partners", "appointments")
EVENTS: tuple[str, ...] = ()
MODELS = (Appointment, PartnerWish)
JOBS = ("appointments.remind",)
