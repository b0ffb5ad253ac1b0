"""`parlance seed`: demo data."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.configured import settings_for_database, with_services
from errors import Refused


def seed(
    learners: Annotated[int, typer.Option(min=20, max=2000, help="Number of learners.")] = 60,
    seed: Annotated[int, typer.Option(help="The same number generates the same learners and calls.")] = 1,
) -> None:
    """Fill the database with demo data: learners, weeks of calls, ratings, reports, courses, orders, an administrator.

    Refuses in production, and where it has run before. Prints the password of the accounts that it creates.

    Examples:

      parlance seed

      parlance seed --learners 200 --seed 7
    """
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
