"""Where storage sends browsers, which the pages' policy opens."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adapters.storage import Storage
from settings import Settings


@pytest.mark.parametrize(
    ("endpoint", "public", "pictures", "videos"),
    [
        ("http://localhost:9000", None, "http://localhost:9000", "http://localhost:9000"),
        # AWS answers at a name that begins with the bucket's.
        (
            "https://s3.amazonaws.com",
            "https://cdn.test/p",
            "https://cdn.test",
            "https://parlance.s3.us-east-1.amazonaws.com",
        ),
        ("http://localhost:9000", "/pictures", "", "http://localhost:9000"),
    ],
)
def test_storage_is_reached_at_its_public_address(
    settings: Settings, endpoint: str, public: str | None, pictures: str, videos: str
) -> None:
    changed = {"storage_endpoint": endpoint, "storage_public_url": public, "storage_bucket_name": "parlance"}
    storage = Storage(settings.model_copy(update=changed))
    assert (storage.public_origin, storage.signed_origin) == (pictures, videos)
    assert storage.signed_url("a/b", timedelta(minutes=1)).startswith(f"{videos}/")


def test_signed_urls_carry_the_region(settings: Settings) -> None:
    auto = Storage(settings.model_copy(update={"storage_region": "auto"}))
    url = auto.signed_url("a/b", timedelta(minutes=1))
    assert "%2Fauto%2Fs3%2Faws4_request" in url and "us-east-1" not in url
    default = Storage(settings).signed_url("a/b", timedelta(minutes=1))
    assert "%2Fus-east-1%2Fs3%2Faws4_request" in default
