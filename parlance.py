"""Version of Parlance, and the places of its modules: in the repository, or in the package `parlance` of the wheel.

In the repository each folder is a package of its own (`cli`, `models`). The wheel has all of them below one package,
`parlance`, whose `__init__` is this module; deploy/wheel.py builds it and rewrites the imports. Modules that are named
by a string, in a spec or a command, are imported and run through here alone.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from types import ModuleType
from typing import NoReturn

__version__ = "0.2.0"

#: Whether this is the installed wheel, where this module is a package.
IS_INSTALLED = "__path__" in globals()


def qualify(module: str) -> str:
    """Return the import path of a module that the repository calls `module`."""
    return f"parlance.{module}" if IS_INSTALLED else module


def import_module(module: str) -> ModuleType:
    """Import the module that the repository calls `module`."""
    return importlib.import_module(qualify(module))


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in a process of its own."""
    # -P: a file of the current folder must not replace a library of the same name.
    return [sys.executable, "-P", "-m", qualify(module), *arguments]


def main() -> NoReturn:
    """Run the command line."""
    if os.getpid() == 1:
        # As in a container, where the kernel ignores what has no handler; elsewhere the default action does the same.
        # Before the imports, which take a second. An ordinary exit would wait for threads that wait for a resolver.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    # Imports make a hundred thousand objects that stay: collecting garbage meanwhile is a sixth of their time.
    gc.set_threshold(50_000, 20, 100)
    from cli.main import main as run

    run()


if __name__ == "__main__":
    main()
