"""`parlance seed`: demo data."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import review
from cli.configured import settings_for_database, with_services
from errors import Refused


def seed(
    learners: Annotated[int, typer.Option(min=20, max=2000, help="Number of learners.")] = 60,
    seed: Annotated[int, typer.Option(help="The same number generates the same learners and calls.")] = 1,
    for_review: Annotated[
        bool, typer.Option("--review", help="Make or renew the accounts of the stores' review teams instead.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="With --review: delete these accounts.")] = False,
) -> None:
    """Fill the database with demo data: learners, weeks of calls, ratings, reports, courses, orders, an administrator.

    Refuses in production, and where it has run before. Prints the password of the accounts that it creates. With
    --review, also in production and any number of times, it gives the review account another password.

    Examples:

      parlance seed

      parlance seed --learners 200 --seed 7

      parlance seed --review

      parlance seed --review --remove
    """
    if for_review:
        (review.remove_review if remove else review.seed_review)()
        return
    if remove:
        raise typer.BadParameter("--remove goes with --review")
    if settings_for_database().is_production:
        raise Refused("demo data is not for production, and APP_ENV is production")
    # Imported here: other commands do not wait for it.
    from devtools.demo_data import DemoData

    demo = with_services(lambda services: DemoData(services).fill(learners, seed))
    print(
        f"{demo.learners} learners, {demo.calls} calls, {demo.ratings} ratings, {demo.reports} reports,"
        f" {demo.blocks} blocks, {demo.courses} courses, {demo.orders} orders"
    )
    print(f"a learner         {demo.learner_email}")
    if demo.admin_email:
        print(f"an administrator  {demo.admin_email}")
    print(f"password of all   {demo.password}")
    if not demo.has_video:
        print("no lesson has a video: the storage at STORAGE_ENDPOINT does not answer")
