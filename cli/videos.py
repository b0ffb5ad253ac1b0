"""`parlance videos`: HLS generated again from the stored originals."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

import errors
from cli.configured import with_services

if TYPE_CHECKING:
    from container import Container
    from services.learning.videos import Remake

app = typer.Typer(help="Generate videos again from their originals.", no_args_is_help=True)
_OUTCOME_TEXTS = {
    "enqueued": "enqueued",
    "processing": "is already being processed",
    "no_original": "has no original: an older version deleted it, or it was lost; upload the video again",
    "no_video": "has no video",
    "not_found": "there is no such lesson",
}


@app.callback()
def videos() -> None:
    """Keep `remake` a command of its own: Typer would drop the name of an only one."""


@app.command("remake")
def remake(
    lesson_ids: Annotated[
        list[uuid.UUID] | None, typer.Argument(metavar="[LESSON_ID]...", help="Lessons by their ids.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every lesson with a video or a failed one.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Every lesson whose last video failed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Generate the HLS of lessons again from their originals, such as after an update or a failure.

    `parlance worker` processes one video at a time; learners play the current HLS until the new one is ready.
    Exit 0 if every lesson is processed again, 1 if one is not (its line has the reason), 2 for wrong usage.

    Examples:

      parlance videos remake 7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0

      parlance videos remake --failed

      parlance videos remake --all --json
    """
    if sum((bool(lesson_ids), every, failed)) != 1:
        raise typer.BadParameter("name lessons, or give either --all or --failed")

    async def run(services: Container) -> list[Remake]:
        return await services.videos.remake(lesson_ids or await services.videos.list_remakeable(failed=failed))

    outcomes = with_services(run)
    if as_json:
        print(
            json.dumps(
                [{"lessonId": each.lesson_id, "title": each.title, "outcome": each.outcome} for each in outcomes]
            )
        )
    else:
        for each in outcomes:
            print(f"{each.lesson_id}  {each.title or '-'}: {_OUTCOME_TEXTS[each.outcome]}")
        print(f"{sum(each.outcome == 'enqueued' for each in outcomes)} videos enqueued")
    left = sum(each.outcome not in ("enqueued", "processing") for each in outcomes)
    if left:
        raise errors.Refused(f"{left} videos cannot be generated again")
