"""`parlance texts`: texts and stored profiles compared with the word lists."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import errors
from cli.configured import operator_settings, with_services

if TYPE_CHECKING:
    from container import Container
    from services.safety.profile_scan import ProfileFinding

app = typer.Typer(help="Compare texts and profiles with the word lists.", no_args_is_help=True)


@app.command("check")
def check(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Lines of standard input without any.")
    ] = None,
    field: Annotated[
        Literal["username", "displayName", "bio", "topic"], typer.Option(help="The field that each is for.")
    ] = "topic",
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Compare texts with the word lists, also where TEXT_FILTER is off; print the entry that each has.

    Exit 0 if no text is refused, 1 if one is.

    Examples:

      parlance texts check "sex education" "s.h.1.t"

      parlance texts check --field username julia_admin

      parlance texts check --json < topics.txt
    """
    from services.safety.text_filter import TextFilter

    text_filter = TextFilter(operator_settings().word_lists_directory)
    results = []
    for text in texts or (line.rstrip("\r\n") for line in sys.stdin):
        entry = text_filter.find_entry(text)
        is_staff_name = text_filter.is_staff_name(field, text)
        results.append(
            {
                "text": text,
                "isRefused": entry is not None or is_staff_name,
                "entry": entry.source if entry else None,
                "language": entry.language if entry else None,
            }
        )
        if not as_json:
            reason = (
                f"{entry.language}: {entry.source}" if entry else "reads like staff" if is_staff_name else "allowed"
            )
            print(f"{text}  {reason}")
    if as_json:
        print(json.dumps(results, ensure_ascii=False))
    refused = sum(1 for each in results if each["isRefused"])
    if refused:
        raise errors.Refused(f"{refused} of {len(results)} texts are refused")


@app.command("scan")
def scan(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """List the stored names and bios that would be refused today, for review. Nothing is changed.

    Example: parlance texts scan --json
    """

    async def run(services: Container) -> list[ProfileFinding]:
        return [finding async for finding in services.profile_scan.scan()]

    findings = with_services(run)
    if as_json:
        print(
            json.dumps(
                [
                    {
                        "userId": str(each.user_id),
                        "field": each.field,
                        "text": each.text,
                        "entry": each.entry,
                        "language": each.language,
                    }
                    for each in findings
                ],
                ensure_ascii=False,
            )
        )
    else:
        for each in findings:
            reason = f"{each.language}: {each.entry}" if each.entry else "reads like staff"
            print(f"{each.user_id}  {each.field}  {each.text!r}  {reason}")
        print(f"{len(findings)} texts to review")
