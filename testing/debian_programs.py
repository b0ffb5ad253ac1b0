"""Programs of Debian packages, run with the files of deploy/."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.child_processes import die_with_parent
from testing.polling import wait_until
from testing.ports import free_port
from testing.time_limits import limit

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"

#: What a headless Chromium needs so that it runs as root, asks for no microphone and sends no telemetry.
CHROMIUM_ARGUMENTS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
]


def find_program(package: str, *names: str) -> str:
    """Find a program; fail, with the command that installs it, where it is missing."""
    # Debian keeps daemons where only root's PATH looks.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    assert found, f"this test runs a real {names[0]}; install it with: apt-get install {package}"
    return found


@contextmanager
def running(command: list[str], log: Path, ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon in the foreground, from when it is ready until the block ends; it dies with this process."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=die_with_parent(signal.SIGTERM)
        )
    try:

        def is_ready() -> bool:
            assert process.poll() is None, f"{command[0]} ended:\n{log.read_text()}"
            return ready()

        wait_until(is_ready, lambda: f"{command[0]} is ready:\n{log.read_text()}", within=15)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(limit(5))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_listening(port: int) -> bool:
    """Say whether a TCP port of this machine is listened on."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def certificate(directory: Path) -> Path:
    """Write a certificate for 127.0.0.1 and its key, named as deploy/ names them; answer the certificate's path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "fullchain.pem"
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (directory / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@dataclass(frozen=True)
class Coturn:
    """A running turnserver."""

    port: int
    tls_port: int
    certificate: Path
    log: Path
    pid: int


@contextmanager
def coturn(directory: Path, secret: str, *options: str, relay: str = "127.0.0.1") -> Iterator[Coturn]:
    """Run turnserver with deploy/turnserver.conf; only addresses, ports, files and the secret are the test's own."""
    turnserver = find_program("coturn", "turnserver")
    chain = certificate(directory / "tls")
    port, tls_port, log = free_port(), free_port(), directory / "turnserver.log"
    command = [
        turnserver,
        # coturn takes no `=` after this one, and starts without a configuration that it can't find.
        *("-c", str(DEPLOY / "turnserver.conf")),
        "--listening-ip=127.0.0.1",
        f"--relay-ip={relay}",
        f"--listening-port={port}",
        f"--tls-listening-port={tls_port}",
        f"--cert={chain}",
        f"--pkey={chain.with_name('privkey.pem')}",
        f"--static-auth-secret={secret}",
        "--realm=parlance.test",
        f"--pidfile={directory / 'turnserver.pid'}",
        f"--userdb={directory / 'turndb'}",
        "--log-file=stdout",
        *options,
    ]
    with running(command, log, lambda: is_listening(port) and is_listening(tls_port)) as process:
        yield Coturn(port, tls_port, chain, log, process.pid)


@dataclass(frozen=True)
class Nginx:
    """A running nginx; `url` is its TLS side."""

    url: str
    plain_url: str
    certificate: Path
    configuration: Path
    pid: int


@contextmanager
def nginx(
    directory: Path,
    *upstreams: str,
    socket_timeout: str | None = None,
    client_header: str | None = None,
    origin: str = "",
) -> Iterator[Nginx]:
    """Run nginx with deploy/nginx.conf before `upstreams` (host:port).

    `socket_timeout` takes the place of its 12s; with `client_header` clients have the address that this header says;
    `origin` is one whose pages may read nginx's own refusals.
    """
    executable = find_program("nginx", "nginx")
    chain = certificate(directory / "tls")
    port, plain_port = free_port(), free_port()
    configuration = (DEPLOY / "nginx.conf").read_text()

    def replace(old: str, new: str) -> None:
        nonlocal configuration
        assert old in configuration, f"deploy/nginx.conf no longer says `{old}`"
        configuration = configuration.replace(old, new)

    # Ports, files and the upstream; every other line is the deployed one.
    replace("listen 80 default_server", f"listen 127.0.0.1:{plain_port} default_server")
    replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    replace("        listen [::]:80 default_server;\n", "")
    replace("        listen [::]:443 ssl http2 default_server;\n", "")
    server = "server api:5503 max_fails=2 fail_timeout=5s;"
    replace(server, "".join(server.replace("api:5503", each) for each in upstreams))
    replace("pid /run/nginx.pid", f"pid {directory / 'nginx.pid'}")
    # The folders that are compiled in belong to root.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    replace("http {\n", "http {\n" + "".join(f"{kind}_temp_path {directory / kind};\n" for kind in kinds))
    if origin:
        replace('#   "https://app.example.com" $http_origin;\n', "\n")
        replace("map $http_origin $cors_origin {\n", f'map $http_origin $cors_origin {{\n"{origin}" $http_origin;\n')
    if client_header:
        replace("http {\n", f"http {{\nset_real_ip_from 127.0.0.0/8; real_ip_header {client_header};\n")
    if socket_timeout:
        replace("_timeout 12s", f"_timeout {socket_timeout}")
    if os.geteuid() == 0:
        # Its workers would be a user without access to a test's folders.
        configuration = f"user root;\n{configuration}"
    path = directory / "nginx.conf"
    path.write_text(configuration)
    shutil.copy("/etc/nginx/mime.types", directory)

    command = [executable, "-p", str(directory), "-c", str(path)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0 and "warn" not in checked.stderr, checked.stderr
    with running([*command, "-g", "daemon off;"], directory / "nginx.log", lambda: is_listening(port)) as process:
        yield Nginx(f"https://127.0.0.1:{port}", f"http://127.0.0.1:{plain_port}", chain, path, process.pid)
