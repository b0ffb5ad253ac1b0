"""`parlance review-partner` and `parlance seed --review`: accounts for the stores' review teams."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from cli.configured import with_services
from errors import Refused

if TYPE_CHECKING:
    from container import Container

_NOTES = """\
notes for the review
  Log in with this account; its e-mail address is confirmed and its profile is complete.
  Tap "Talk" at any hour: the account meets an automatic partner, never another learner, whose audio is a melody.
  In the call: mute, report, block, hang up. Afterwards: rate the call, see it in the history, report it there.
  A block or a report keeps the two apart for 15 minutes, so that its effect can be seen.
  Account deletion: in the profile, or at {site}/delete-account. Documents: {site}/terms, {site}/privacy, {site}/safety.
"""


def seed_review() -> None:
    """Make or renew the accounts, and print what the stores' forms ask for."""

    async def make(services: Container) -> tuple[str, str, str]:
        reviewer, _ = await services.review_accounts.seed()
        return reviewer.email, reviewer.password, services.settings.app_url

    email, password, site = with_services(make)
    print(f"address   {site}\nuser      {email}\npassword  {password}\n")
    print(_NOTES.format(site=site), end="")
    print("\nkeep the partner running until the review is over: parlance review-partner")


def remove_review() -> None:
    with_services(lambda services: services.review_accounts.remove())
    print("the review accounts are deleted")


def review_partner(
    url: Annotated[str | None, typer.Option(help="Address of the server; APP_URL when left out.")] = None,
) -> None:
    """Play the partner of the stores' review teams until stopped: wait, answer each call with audio, begin again.

    `parlance seed --review` makes the accounts. Of two that run at once, each ends the other's login: run one.

    Examples:

      parlance review-partner

      parlance review-partner --url http://127.0.0.1:5503
    """
    # Imported here: other commands do not wait for the media libraries.
    from adapters import logs
    from adapters.practice_client import PracticeClient

    async def play(services: Container) -> None:
        logs.configure(services.settings)
        accounts = services.review_accounts

        async def enter() -> tuple[str, str, str]:
            account = await accounts.enter_as_partner()
            return str(account.user_id), account.email, account.password

        await PracticeClient(url or services.settings.app_url, enter, accounts.bring_together).run()

    if url is not None and not url.startswith(("http://", "https://")):
        raise Refused("--url should begin with https:// or http://")
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        with_services(play)
