"""Safety: reports, blocks, bans, and what the service publishes about itself."""

from models import Block, Report

TAGS = ("policy", "reports")
EVENTS: tuple[str, ...] = ()
MODELS = (Block, Report)
JOBS: tuple[str, ...] = ()
