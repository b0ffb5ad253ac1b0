"""`parlance doctor`: checks of an installation, with a fix for each fault."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Annotated

import typer

from cli.configured import operator_settings
from errors import Refused


def doctor(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Check everything the product needs, in the way it uses it; exit 1 where there is a fault.

    Checks the settings of the environment and .env, and the services of a `parlance dev` that runs here.

    Examples:

      parlance doctor

      parlance doctor --json
    """
    # Imported here: the other commands should not wait for the clients of all services.
    import container
    from cli import migrations

    # Findings say what the log would.
    logging.getLogger("parlance").addHandler(logging.NullHandler())
    settings = operator_settings()
    findings = asyncio.run(container.build_doctor(settings, migrations.revisions(settings)).examine())
    if as_json:
        rows = [
            {"check": each.check, "verdict": each.verdict, "summary": each.summary, "fix": each.fix}
            for each in findings
        ]
        print(json.dumps(rows))
    else:
        for each in findings:
            print(f"{each.verdict:8} {each.check:11} {each.summary}")
            if each.fix:
                print(f"{'':20} {each.fix}")
    faults = [each.check for each in findings if each.verdict == "fault"]
    if faults:
        raise Refused(f"at fault: {', '.join(faults)}")
