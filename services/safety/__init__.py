"""Safety: ages, consents, gates, reports with their weights, holds, blocks, sanctions, appeals, published policy."""

from models import AgeRefusal, Appeal, AppealToken, BarredIdentifier, Block, Consent, Report, Sanction

TAGS = ("policy", "reports", "sanctions")
EVENTS: tuple[str, ...] = ()
MODELS = (AgeRefusal, Appeal, AppealToken, BarredIdentifier, Block, Consent, Report, Sanction)
JOBS = (
    "ages.delete_account",
    "appeals.send_decision",
    "reports.notify_overdue",
    "reports.prune_traits",
    "reports.weigh",
    "sanctions.send_lift_notice",
    "sanctions.send_statement",
)
