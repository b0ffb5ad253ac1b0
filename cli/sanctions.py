"""`parlance sanctions`: warnings, suspensions and bans by operators."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from cli.appeals import MAX_REASON_LENGTH
from cli.configured import check_text, with_services
from instants import format_instant
from models import SanctionGround, SanctionKind
from texts import Kind

app = typer.Typer(help="Issue, list and lift sanctions.", no_args_is_help=True)

UserId = Annotated[uuid.UUID, typer.Argument(metavar="USER_ID", help="The account's id.")]
_MAX_LISTED = 100


@app.command("issue")
def issue(
    user_id: UserId,
    kind: Annotated[SanctionKind, typer.Argument(help="What the account gets.")],
    ground: Annotated[SanctionGround, typer.Argument(help="What for.")],
    facts: Annotated[str, typer.Option(help="What the account did; the learner reads it.")],
    days: Annotated[int | None, typer.Option(min=1, max=365, help="Of a suspension.")] = None,
) -> None:
    """Warn, suspend or ban an account. The learner gets a statement of reasons by e-mail.

    Examples:

      parlance sanctions issue 7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0 suspension spam --days 7 --facts "You sent links."

      parlance sanctions issue 7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0 ban fraud --facts "You paid with stolen cards."
    """
    from services.safety.sanctions import SanctionOrder

    text = check_text("facts", facts, Kind.PARAGRAPHS, max_length=MAX_REASON_LENGTH)
    order = SanctionOrder(kind, ground, text, days)
    sanction = with_services(lambda services: services.sanctions.issue(None, str(user_id), order))
    end = f" until {format_instant(sanction.ends_at)}" if sanction.ends_at else ""
    print(f"{sanction.kind.value} {sanction.id} is issued{end}")


@app.command("lift")
def lift(
    sanction_id: Annotated[uuid.UUID, typer.Argument(metavar="ID", help="The sanction's id.")],
    reason: Annotated[str, typer.Option(help="The reason, which the learner reads.")],
) -> None:
    """Lift a sanction. An open appeal against it is closed.

    Example: parlance sanctions lift e41c9b70-5a2d-4f86-9c3e-8d7b6a0f2e15 --reason "It was the wrong account."
    """
    text = check_text("reason", reason, Kind.PARAGRAPHS, max_length=MAX_REASON_LENGTH)
    lifted = with_services(lambda services: services.sanctions.lift(None, str(sanction_id), text)).sanction
    print(f"{lifted.kind.value} {lifted.id} is lifted")


@app.command("find")
def find(email: Annotated[str, typer.Argument(help="The address that is refused.")]) -> None:
    """Find the sanction that keeps an address out after its account was deleted; `lift` ends that.

    Example: parlance sanctions find ada@example.com
    """
    found = with_services(lambda services: services.barred_identifiers.find(email))
    kind, ground = found.sanction.kind.value, found.sanction.ground.value
    print(f"{found.sanction.id} {kind} for {ground} keeps the address out until {format_instant(found.until)}")


@app.command("list")
def list_sanctions(user_id: UserId) -> None:
    """List the sanctions of an account, newest first, at most 100.

    Example: parlance sanctions list 7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0
    """
    page = with_services(
        lambda services: services.sanctions.list_for_account(str(user_id), limit=_MAX_LISTED, cursor=None)
    )
    for sanction, appeal, _ in page.items:
        end = f" until {format_instant(sanction.ends_at)}" if sanction.ends_at else ""
        state = f", lifted {format_instant(sanction.lifted_at)}" if sanction.lifted_at else ""
        appealed = f", appeal {appeal.status.value}" if appeal else ""
        print(
            f"{sanction.id} {format_instant(sanction.starts_at)} {sanction.kind.value}{end}"
            f" for {sanction.ground.value}{state}{appealed}"
        )
