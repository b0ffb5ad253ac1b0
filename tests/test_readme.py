"""Code blocks of the README's first call, run as written."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from testing.servers import start_server, stop_server
from testing.time_limits import limit

ROOT = Path(__file__).resolve().parents[1]


async def test_readme_blocks_run_twice(environment: dict[str, str], tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text().partition("## First call")[2].partition("## Documentation")[0]
    blocks = dict(re.findall(r"```(bash|python)\n(.*?)```", text, re.S))
    variables = {**environment, "RATE_LIMITS": "loose"}
    server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=1)
    port = server.url.rpartition(":")[2]
    (tmp_path / "call.py").write_text(blocks["python"].replace("5503", port))
    command, listing = re.findall(r"`(\.venv/bin/python call\.py[^`]*|curl -s localhost:5503/sessions[^`]*)`", text)
    script = "\n".join(
        ["set -e", blocks["bash"], command.replace(".venv/bin/python", sys.executable), "echo; echo SESSIONS", listing]
    )
    try:
        for _ in range(2):
            done = await asyncio.to_thread(
                subprocess.run,
                ["bash", "-c", script.replace("5503", port)],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=limit(30),
            )
            assert done.returncode == 0, done.stdout + done.stderr
            output, _, sessions = done.stdout.partition("SESSIONS")
            assert '"username":"ada"' in output and '"username":"bob"' in output
            for name in ("ada", "bob"):
                for event in ("match_found", "peer_joined"):
                    assert f"{name} receives {event}" in output, output
            assert re.search(r"bob receives peer_left .*'ended'", output), output
            assert '"partner"' in sessions and "bob" in sessions, sessions
    finally:
        await asyncio.to_thread(stop_server, server)
