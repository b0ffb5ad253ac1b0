"""Owns `parlance doctor`: what works of an installation, what does not, and how to mend it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Annotated

import typer

from cli.configured import operator_settings
from errors import Refused


def doctor(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Look at everything the product needs, as it will use it; exit 1 where something is at fault.

    Looks at the settings of the environment and .env, and at the services of a `parlance dev` that runs here.

    Examples:

      parlance doctor

      parlance doctor --json
    """
    # Imported here: the other commands should not wait for the clients of all services.
    import container
    from cli import migrations

    settings = operator_settings()
    findings = asyncio.run(container.build_doctor(settings, migrations.revisions(settings)).examine())
    if as_json:
        print(json.dumps([dataclasses.asdict(each) for each in findings]))
    else:
        for each in findings:
            print(f"{each.verdict:8} {each.check:11} {each.saw}")
            if each.mend:
                print(f"{'':20} {each.mend}")
    faults = [each.check for each in findings if each.verdict == "fault"]
    if faults:
        raise Refused(f"at fault: {', '.join(faults)}")
