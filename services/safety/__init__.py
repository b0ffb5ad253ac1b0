"""Safety: reports, blocks and bans."""

from models import Block, Report

TAGS = ("reports",)
EVENTS: tuple[str, ...] = ()
MODELS = (Block, Report)
JOBS: tuple[str, ...] = ()
