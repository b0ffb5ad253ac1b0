"""Features of `services/`: each tag, event, table and job belongs to exactly one of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

import models
import services
from jobs import JOBS

ROOT = Path(__file__).parents[2]
FEATURES: list[ModuleType] = [
    importlib.import_module(f"services.{each.name}") for each in pkgutil.iter_modules(services.__path__) if each.ispkg
]


def read_spec(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def assert_named_once(kind: str, found: Iterable[str]) -> None:
    named = [getattr(value, "__tablename__", value) for feature in FEATURES for value in getattr(feature, kind)]
    assert sorted(named) == sorted(found)


def test_each_tag_belongs_to_one_feature() -> None:
    assert_named_once("TAGS", [tag["name"] for tag in read_spec("openapi.yaml")["tags"]])


def test_each_event_belongs_to_one_feature() -> None:
    """A relayed event, such as `webrtc_offer`, is received and emitted under one name."""
    assert_named_once("EVENTS", {each["title"] for each in read_spec("asyncapi.yaml")["operations"].values()})


def test_each_model_belongs_to_one_feature() -> None:
    assert_named_once("MODELS", models.metadata.tables)


def test_each_job_belongs_to_one_feature() -> None:
    assert_named_once("JOBS", JOBS)
