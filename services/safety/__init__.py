"""Safety: reports with their weights, holds, blocks, sanctions, appeals, and the published policy."""

from models import Appeal, AppealToken, Block, Report, Sanction

TAGS = ("policy", "reports", "sanctions")
EVENTS: tuple[str, ...] = ()
MODELS = (Appeal, AppealToken, Block, Report, Sanction)
JOBS = (
    "appeals.send_decision",
    "reports.notify_overdue",
    "reports.prune_traits",
    "reports.weigh",
    "sanctions.send_lift_notice",
    "sanctions.send_statement",
)
