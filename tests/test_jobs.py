"""The table of jobs, and the job worker that registers it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from procrastinate import App, PsycopgConnector

import errors
import jobs
from cli.worker import bind
from container import Container


@pytest.fixture
def queue(container: Container) -> App:
    app = App(connector=PsycopgConnector())  # never opened
    bind(app, container)
    return app


def test_worker_registers_the_whole_table(queue: App) -> None:
    registered = {name: task for name, task in queue.tasks.items() if task.queue != "builtin"}
    assert {name: task.queue for name, task in registered.items()} == {
        name: job.queue for name, job in jobs.JOBS.items()
    }
    scheduled = {task.task.name: task.cron for task in queue.periodic_registry.periodic_tasks.values()}
    assert scheduled == {name: job.schedule for name, job in jobs.JOBS.items() if job.schedule}


def test_duplicate_job_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"two jobs are named storage\.delete"):
        jobs.job("storage.delete")(jobs.delete_object.function)


@pytest.mark.parametrize("arguments", [{}, {"name": "a"}, {"key": "a", "prefix": "b"}], ids=["none", "other", "more"])
async def test_unknown_job_arguments_are_refused(container: Container, arguments: dict[str, Any]) -> None:
    async with container.database.transaction() as db:
        with pytest.raises(TypeError, match="argument"):
            await container.jobs.enqueue(db, jobs.delete_object, **arguments)


@pytest.mark.parametrize(("job", "at_least"), [("notifications.push", 600), ("storage.delete", 0)])
async def test_retry_waits_for_retry_after(queue: App, job: str, at_least: int) -> None:
    task = queue.tasks[job]
    assert task.retry_strategy is not None
    row = task.configure().job.evolve(id=1, attempts=0)
    decision = task.retry_strategy.get_retry_decision(exception=errors.Unavailable(retry_after=600), job=row)
    assert decision is not None and decision.retry_at is not None
    wait = decision.retry_at - datetime.now(UTC)
    assert timedelta(seconds=at_least - 5) < wait < timedelta(seconds=at_least + 10)
