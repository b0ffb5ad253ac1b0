"""Administration and operation: audit log, dashboard, metrics, health, checks and pruning."""

from models import AuditEntry

TAGS = ("admin", "health", "metrics")
EVENTS: tuple[str, ...] = ()
MODELS = (AuditEntry,)
JOBS = ("jobs.retry_stalled", "pruning.prune", "retention.erase", "storage.delete", "storage.delete_all")
