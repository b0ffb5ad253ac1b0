"""`parlance appeals`: appeals against sanctions, for operators; the way to decide where there is one administrator."""

from __future__ import annotations

import enum
import json
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.configured import check_text, with_services
from instants import format_instant
from texts import Kind

if TYPE_CHECKING:
    from services.safety.appeals import SubmittedAppeal

app = typer.Typer(help="List, read and decide appeals against sanctions.", no_args_is_help=True)

AppealId = Annotated[uuid.UUID, typer.Argument(metavar="ID", help="The appeal's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
_LIMIT = 100
#: As `DecisionReason` of openapi.yaml.
MAX_REASON_LENGTH = 2000


class Outcome(enum.StrEnum):
    UPHELD = "upheld"
    OVERTURNED = "overturned"


@app.command("list")
def list_appeals(
    every: Annotated[bool, typer.Option("--all", help="Also decided and closed ones.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the open appeals, newest first, at most 100.

    Examples:

      parlance appeals list

      parlance appeals list --all --json
    """
    status = None if every else "open"
    page = with_services(lambda services: services.appeals.list_all(limit=_LIMIT, status=status, cursor=None))
    if as_json:
        print(json.dumps([_describe(each) for each in page.items]))
        return
    for each in page.items:
        row = _describe(each)
        print(f"{row['id']} {row['status']} {row['createdAt']} {row['kind']} for {row['ground']}, user {row['userId']}")
    if page.next_cursor:
        print(f"there are more than {_LIMIT}")


@app.command("show")
def show(appeal_id: AppealId, as_json: AsJson = False) -> None:
    """Show an appeal, with the sanction that it is about.

    Example: parlance appeals show 90d7e3f2-1b6c-4a58-8e04-c5a9f7b3d261
    """
    row = _describe(with_services(lambda services: services.appeals.read(str(appeal_id))))
    if as_json:
        print(json.dumps(row))
        return
    for name, value in row.items():
        print(f"{name}: {'none' if value is None else value}")


@app.command("decide")
def decide(
    appeal_id: AppealId,
    outcome: Annotated[Outcome, typer.Argument(help="upheld: the sanction stays; overturned: it is lifted.")],
    reason: Annotated[str, typer.Option(help="The reason, which the learner reads.")],
) -> None:
    """Decide an appeal as an operator. The learner gets the decision by e-mail.

    Example: parlance appeals decide 90d7e3f2-1b6c-4a58-8e04-c5a9f7b3d261 overturned --reason "It was another learner."
    """
    reason = check_text("reason", reason, Kind.PARAGRAPHS, max_length=MAX_REASON_LENGTH)
    decided = with_services(lambda services: services.appeals.decide(None, str(appeal_id), outcome.value, reason))
    verb = "lifted" if outcome is Outcome.OVERTURNED else "kept"
    print(f"the {decided.sanction.kind.value} of user {decided.sanction.user_id} is {verb}")


def _describe(row: SubmittedAppeal) -> dict[str, Any]:
    appeal, sanction = row.appeal, row.sanction
    return {
        "id": str(appeal.id),
        "status": appeal.status.value,
        "createdAt": format_instant(appeal.created_at),
        "text": appeal.text,
        "decidedAt": format_instant(appeal.decided_at),
        "decidedBy": str(appeal.decided_by) if appeal.decided_by else None,
        "decisionReason": appeal.decision_reason,
        "userId": str(sanction.user_id),
        "sanctionId": str(sanction.id),
        "kind": sanction.kind.value,
        "ground": sanction.ground.value,
        "facts": sanction.facts,
        "startsAt": format_instant(sanction.starts_at),
        "endsAt": format_instant(sanction.ends_at),
        "issuedBy": str(sanction.issued_by) if sanction.issued_by else None,
        "liftedAt": format_instant(sanction.lifted_at),
    }
