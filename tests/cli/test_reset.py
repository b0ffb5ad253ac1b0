"""`parlance reset` deletes the data of `parlance dev`, and nothing else."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from devtools.embedded import EmbeddedServices
from tests.cli.test_operators import parlance


def test_reset_deletes_embedded_data_alone(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    command = ("reset", f"--directory={directory}")
    with EmbeddedServices(directory, durable=False, only=("valkey",)):
        running = parlance(*command, "--yes")
        assert running.returncode == 1 and "is in use by process" in running.stderr
    (directory / "uv").mkdir()
    (directory / "mail").mkdir()
    declined = parlance(*command, stdin="n\n")
    assert declined.returncode == 1 and declined.stderr == "parlance: nothing was deleted\n"
    assert (directory / "valkey").is_dir()
    done = parlance(*command, stdin="y\n")
    assert done.returncode == 0, done.stderr
    assert not {"valkey", "mail", "logs", "state.json"} & {path.name for path in directory.iterdir()}
    assert (directory / "uv").is_dir()
    again = parlance(*command, "--yes")
    assert again.returncode == 1 and "has no data of `parlance dev`; nothing was deleted" in again.stderr


def test_version_and_completion_are_offered() -> None:
    assert parlance("--version").stdout == f"parlance {version('parlance')}\n"
    assert "--install-completion" in parlance("--help").stdout
