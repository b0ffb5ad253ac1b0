"""Generated pictures for tests, and the bucket in which they are stored."""

from __future__ import annotations

import asyncio
import io
from typing import Any
from urllib.parse import urlsplit

from minio import Minio
from PIL import Image

from adapters.ports import Mail
from cli.worker import bind
from container import Container
from settings import Settings


def picture(kind: str = "PNG", size: tuple[int, int] = (64, 48), colour: Any = (200, 30, 60), **options: Any) -> bytes:
    output = io.BytesIO()
    Image.new(options.pop("mode", "RGB"), size, colour).save(output, kind, **options)
    return output.getvalue()


def upload(data: bytes, name: str = "me.png", declared: str = "image/png") -> dict[str, Any]:
    """The arguments of a request that uploads a picture."""
    return {"files": {"file": (name, data, declared)}}


def bucket(settings: Settings) -> Minio:
    return Minio(
        urlsplit(settings.storage_endpoint or "").netloc,
        access_key=settings.storage_access_key,
        secret_key=settings.storage_secret_key.get_secret_value(),
        secure=False,
        region="us-east-1",
    )


async def keys(settings: Settings, prefix: str = "") -> list[str]:
    """What the bucket holds."""

    def listed() -> list[str]:
        found = bucket(settings).list_objects(settings.storage_bucket_name, prefix=prefix, recursive=True)
        return [str(each.object_name) for each in found]

    return await asyncio.to_thread(listed)


class Outbox:
    """A mailer that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []

    async def send(self, mail: Mail, *, idempotency_key: str) -> None:
        self.sent.append(mail)


async def run_jobs(settings: Settings) -> list[Mail]:
    """Run the jobs that wait, as `parlance worker` does, until none is left; answer the mails they sent.

    Not those of videos, which other tests may have left by the dozen.
    """
    outbox = Outbox()
    services = Container(settings, mailer=outbox)
    queue = services.jobs.app
    bind(queue, services)
    try:
        async with queue.open_async():
            await queue.run_worker_async(
                queues=["default"],
                wait=False,
                concurrency=4,
                delete_jobs="successful",
                install_signal_handlers=False,
                listen_notify=False,
            )
    finally:
        await services.close()
    return outbox.sent
