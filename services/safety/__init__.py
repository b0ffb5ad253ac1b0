"""Safety: reports with their weights, holds, blocks, bans, and what the service publishes about itself."""

from models import Block, Report

TAGS = ("policy", "reports")
EVENTS: tuple[str, ...] = ()
MODELS = (Block, Report)
JOBS = ("reports.weigh", "reports.notify_overdue", "reports.prune_traits")
