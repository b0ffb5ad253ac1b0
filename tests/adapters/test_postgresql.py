"""Connections to PostgreSQL that is silent, read only or elsewhere: no wait is long, and all find the primary."""

from __future__ import annotations

import asyncio
import select
import socket
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

import app
import errors
from adapters import budgets, postgresql
from adapters.database import UNAVAILABLE
from adapters.jobs import Jobs
from cli.migrations import revisions, upgrade_to_head
from container import Container
from jobs import send_verification
from services.operations import startup
from services.operations.doctor import DoctorService
from settings import Settings
from testing.containers import load_settings
from testing.databases import execute, own_database, value
from testing.payments import fake_providers, with_payment_accounts
from testing.polling import eventually
from testing.servers import PASSWORD, client, register
from testing.shop import run_job_worker
from testing.standby import PostgresServer, primary_and_standby, wait_for_replay
from testing.tcp_proxy import TcpProxy, tcp_proxy
from testing.time_limits import limit


@pytest.fixture
def proxy(settings: Settings) -> Iterator[TcpProxy]:
    ((host, port),) = settings.database_hosts
    with tcp_proxy(host, port) as running:
        yield running


@pytest.fixture
async def services(settings: Settings, proxy: TcpProxy) -> AsyncIterator[Container]:
    """A web process that reaches PostgreSQL through the proxy."""
    there = with_payment_accounts(settings).model_copy(update={"db_port": proxy.port, "db_pool_size": 3})
    container = Container(there, payment_providers=fake_providers(there))
    async with container.lifespan(None):
        yield container
        proxy.cut()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    with primary_and_standby(tmp_path_factory.mktemp("pair")) as servers:
        yield servers


def options_of(descriptor: int) -> tuple[int, ...]:
    """Return the options by which TCP finds that the other side has vanished."""
    with socket.socket(fileno=socket.dup(descriptor)) as own:
        return (
            own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        )


async def test_all_connections_notice_a_vanished_host(settings: Settings) -> None:
    vanished = (1, 2, 8000)
    engine = postgresql.engine(settings)
    async with engine.connect() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        assert options_of(raw.fileno()) == vanished
        parameters = raw.info.get_parameters()
        assert parameters["target_session_attrs"] == "read-write" and parameters["connect_timeout"] == "3"
        assert (await connection.execute(sa.text("SHOW statement_timeout"))).scalar_one() == "8s"
        assert (await connection.execute(sa.text("SHOW timezone"))).scalar_one() == "UTC"
    await engine.dispose()
    async with Jobs(settings).app.open_async() as queue:
        connector: Any = queue.connector
        async with connector.pool.connection() as pooled:
            assert options_of(pooled.fileno()) == vanished and isinstance(pooled, postgresql.Connection)
        async with connector._get_standalone_connection() as listening:
            assert options_of(listening.fileno()) == vanished and isinstance(listening, postgresql.Connection)
    with postgresql.connect_and_block(settings) as blocking:
        assert options_of(blocking.fileno()) == vanished


async def test_requests_end_while_postgresql_is_silent(services: Container, proxy: TcpProxy) -> None:
    """Each answers 503 before ten seconds: those on open connections, on new ones, and those that wait for the pool."""
    asgi = app.create(services)
    async with client(asgi) as http:
        learner = await register(http)
        login = {"email": learner.email, "password": PASSWORD, "deviceId": "other", "platform": "ios"}

        async def timed(method: str, path: str, **options: Any) -> tuple[int, float, str | None]:
            began = time.monotonic()
            answer = await http.request(method, path, **options)
            return answer.status_code, time.monotonic() - began, answer.headers.get("Retry-After")

        assert (await timed("GET", "/ready"))[0] == 200
        proxy.freeze()
        attempts = [timed("POST", "/auth/login", json=login) for _ in range(2)]
        attempts += [timed("PATCH", "/users/me", json={"displayName": "Ada"}) for _ in range(10)]
        attempts += [timed("GET", "/users/me") for _ in range(4)]
        ready = asyncio.create_task(timed("GET", "/ready"))
        answers = await asyncio.wait_for(asyncio.gather(*attempts), limit(15))
        assert {status for status, _, _ in answers} == {503} and all(after for _, _, after in answers), answers
        assert max(seconds for _, seconds, _ in answers) < budgets.REQUEST_SECONDS + limit(1.5), answers
        status, seconds, _ = await ready
        assert status == 503 and seconds < limit(3)
        proxy.let_new_pass()

        async def works() -> bool:
            return (await timed("PATCH", "/users/me", json={"displayName": "Bob"}))[0] == 200

        await eventually(works, "a write on new connections", within=20)
        assert (await timed("GET", "/users/me"))[0] == 200 and (await timed("GET", "/ready"))[0] == 200


async def test_statements_of_a_request_share_one_budget(services: Container) -> None:
    """Two statements, each within its own limit."""
    began = time.monotonic()
    with pytest.raises(UNAVAILABLE), budgets.time_limit(1):
        for _ in range(2):
            async with services.database.transaction() as db:
                await db.execute(sa.text("SELECT pg_sleep(0.7)"))
    assert time.monotonic() - began > 0.9
    async with services.database.transaction() as db:  # and the pool is well
        assert (await db.execute(sa.text("SELECT 1"))).scalar_one() == 1


async def test_revocations_are_read_again_after_a_silent_death(
    services: Container, proxy: TcpProxy, container: Container
) -> None:
    async with client(app.create(container)) as http, client(app.create(services)) as other:
        learner = await register(http)
        other.headers["Authorization"] = f"Bearer {learner.access_token}"
        assert (await other.get("/users/me")).status_code == 200
        proxy.freeze()
        before = proxy.accepted
        await eventually(lambda: proxy.accepted > before, "a new connection is tried", within=30)
        assert (await http.post("/auth/logout-all")).status_code == 204
        proxy.let_new_pass()

        async def is_known() -> bool:
            return (await other.get("/users/me")).status_code == 401

        await eventually(is_known, "the end of the login is known", within=20)


async def test_job_worker_takes_jobs_after_a_silent_death(
    environment: dict[str, str], settings: Settings, proxy: TcpProxy, tmp_path: Path
) -> None:
    """The pool's connections and the one that listens are silent for ever; new ones reach the server."""
    with own_database(settings) as own:
        direct = Container(own)

        async def is_empty() -> bool:
            statement = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'auth.send_verification'"
            return bool(await value(direct, statement) == 0)

        async def enqueue() -> None:
            async with direct.database.transaction() as db:
                await direct.jobs.enqueue(db, send_verification, user_id=str(uuid.uuid4()))

        variables = {**environment, "DB_NAME": own.db_name, "DB_PORT": str(proxy.port)}
        with run_job_worker(variables, tmp_path / "worker.log") as process:
            await enqueue()
            await eventually(is_empty, "the first job is done", within=20)
            proxy.freeze()
            await enqueue()
            log = tmp_path / "worker.log"
            await eventually(lambda: "postgresql_unavailable" in log.read_text(), log.read_text, within=30)
            proxy.let_new_pass()
            await eventually(is_empty, log.read_text, within=30)
            assert process.poll() is None
        await direct.close()


async def test_listening_connection_is_replaced_when_silent(settings: Settings, proxy: TcpProxy) -> None:
    there = settings.model_copy(update={"db_port": proxy.port})
    received: list[str] = []

    async def note(*, channel: str, payload: str) -> None:
        received.append(payload)

    async with Jobs(there).app.open_async() as queue:
        listening = asyncio.create_task(queue.connector.listen_notify(note, ["proxied"]))

        async def is_received(text: str) -> bool:
            execute(settings, f"SELECT pg_notify('proxied', '{text}')")
            return text in received

        await eventually(lambda: is_received("before"), "listening")
        proxy.freeze()
        proxy.let_new_pass()
        await eventually(lambda: is_received("after"), "listening again", within=40)
        listening.cancel()
        proxy.cut()


async def test_cancelled_statement_ends_while_postgresql_is_silent(services: Container, proxy: TcpProxy) -> None:
    async def wait_for_it() -> None:
        async with services.database.transaction() as db:
            under_way.set()
            await db.execute(sa.text("SELECT pg_sleep(5)"))

    under_way = asyncio.Event()
    task = asyncio.create_task(wait_for_it())
    await under_way.wait()
    proxy.freeze()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=limit(15))
    assert done


@pytest.fixture
async def switched(
    pair: tuple[PostgresServer, PostgresServer], settings: Settings
) -> AsyncIterator[tuple[Container, TcpProxy, Settings]]:
    """A web process whose primary has become read only, without closing a connection; its name leads to a proxy."""
    primary, _ = pair
    with tcp_proxy("127.0.0.1", primary.port) as name:
        there = settings.model_copy(
            update={
                **{key.lower(): each for key, each in primary.environment.items() if key != "DB_PASSWORD"},
                "db_port": name.port,
                "db_pool_size": 3,
            }
        )
        upgrade_to_head(there)
        container = Container(
            with_payment_accounts(there), payment_providers=fake_providers(with_payment_accounts(there))
        )
        async with container.lifespan(None):
            yield container, name, there
            name.cut()
        primary.execute("ALTER SYSTEM RESET default_transaction_read_only")
        primary.execute("SELECT pg_reload_conf()")


async def test_read_only_server_is_unavailable_and_left(
    pair: tuple[PostgresServer, PostgresServer], switched: tuple[Container, TcpProxy, Settings]
) -> None:
    """A switch with a stale name: the old server lives on read only, and its connections with it."""
    primary, standby = pair
    services, name, there = switched
    async with client(app.create(services)) as http:
        learner = await register(http)
        assert (await http.get("/ready")).status_code == 200
        ready = [http.patch("/users/me", json={"displayName": "Ada"}) for _ in range(3)]
        assert {each.status_code for each in await asyncio.gather(*ready)} == {200}  # the pool is full

        primary.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        primary.execute("SELECT pg_reload_conf()")

        async def status() -> tuple[int, str | None]:
            answer = await http.patch("/users/me", json={"displayName": "Bob"})
            return answer.status_code, answer.headers.get("Retry-After")

        async def is_refused() -> bool:
            answer = await status()
            assert answer[0] in (200, 503), answer
            return answer[0] == 503

        await eventually(is_refused, "a write is refused")
        assert [(await status())[0] for _ in range(4)] == [503] * 4 and (await status())[1]
        assert (await http.get("/ready")).status_code == 503
        with pytest.raises(startup.Unreachable, match="cannot write: it is a standby, or read only"):
            await startup.check_database(there)
        findings = {each.check: each for each in await DoctorService(there, revisions(there)).examine()}
        assert findings["database"].verdict == findings["migrations"].verdict == "fault"
        assert "cannot write" in findings["database"].summary

        wait_for_replay(primary, standby)
        name.target = "127.0.0.1", standby.port
        assert (await status())[0] == 503  # not promoted yet
        standby.promote()
        assert await eventually(lambda: status(), within=20)

        async def is_back() -> bool:
            return (await status())[0] == 200

        await eventually(is_back, "writes on the new primary", within=20)
        assert (await http.get("/users/me")).json()["displayName"] == "Bob"
        assert (await http.get("/ready")).status_code == 200
        assert learner.id


async def test_read_only_error_of_enqueuing_is_unavailable(settings: Settings) -> None:
    """Procrastinate wraps it in an error of its own."""
    with own_database(settings) as own:
        services = Container(own)
        with pytest.raises(UNAVAILABLE):
            async with services.database.transaction() as db:
                await db.execute(sa.text("SET TRANSACTION READ ONLY"))
                await services.jobs.enqueue(db, send_verification, user_id=str(uuid.uuid4()))
        await services.close()


async def test_several_hosts_lead_to_the_primary(environment: dict[str, str], tmp_path: Path) -> None:
    """The first host of DB_HOST is promoted while the second is; no setting changes."""
    with primary_and_standby(tmp_path) as (primary, standby):
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        there = load_settings({**environment, **primary.environment, "DB_HOST": hosts})
        services = Container(there)

        async def write() -> int:
            async with services.database.transaction() as db:
                await db.execute(sa.text("CREATE TABLE IF NOT EXISTS written (value int)"))
                return int((await db.execute(sa.text("SELECT inet_server_port()"))).scalar_one())

        assert await write() == primary.port
        row = await services.database.fetch_one("SELECT inet_server_port()")
        assert row == (primary.port,)
        wait_for_replay(primary, standby)
        primary.stop()
        standby.promote()

        async def port() -> int | None:
            try:
                return await write()
            except UNAVAILABLE:
                return None

        await eventually(port, "a write on the new primary", within=20)
        assert await port() == standby.port
        await services.database.check_writable()
        await startup.check_database(there)
        with postgresql.connect_and_block(there) as connection:
            assert connection.info.port == standby.port
        await services.close()


async def test_silent_first_host_does_not_use_up_each_budget(
    environment: dict[str, str], settings: Settings, proxy: TcpProxy
) -> None:
    """A process that starts after a failover: its checks have less time than a silent host may take to connect."""
    proxy.freeze()
    hosts = f"127.0.0.1:{proxy.port},{settings.db_host}:{settings.db_port}"
    services = Container(load_settings({**environment, "DB_HOST": hosts}))

    async def is_writable() -> bool:
        try:
            await services.database.check_writable()
        except UNAVAILABLE:
            return False
        return True

    assert not await is_writable()
    await eventually(is_writable, "a write on the second host", within=20)
    await services.close()


async def test_silent_resolver_ends_every_connect(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """psycopg looks the host up without a limit of its own: in requests, and in background tasks, without a budget."""

    async def never(*_: object, **__: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    unknown = settings.model_copy(update={"db_host": "db.invalid"})
    services = Container(unknown)

    async def write() -> None:
        async with services.database.transaction():
            pass

    async with asyncio.timeout(limit(60)):
        with pytest.raises(UNAVAILABLE), budgets.time_limit(0.1):
            await services.database.fetch_one("SELECT 1")
        ended = await asyncio.gather(
            postgresql.connect(unknown),
            services.database.fetch_one("SELECT 1"),
            write(),
            return_exceptions=True,
        )
    expected = [psycopg.OperationalError, errors.Unavailable, sa.exc.OperationalError]
    assert [type(each) for each in ended] == expected, ended
    await services.close()


async def test_answer_in_time_is_read_by_a_busy_event_loop(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer and the time-out wait side by side: the connection is not shut, and serves the next statement too."""
    monkeypatch.setattr(postgresql, "_CHECK_SECONDS", 0.01)
    connection = await postgresql.connect(settings, autocommit=True)
    connection.is_idle = True
    asking = asyncio.create_task(connection.execute("SELECT 1"))
    sent = connection.pgconn.transaction_status
    while connection.pgconn.transaction_status == sent:  # until it is sent
        await asyncio.sleep(0)
    due = asyncio.get_running_loop().time() + postgresql._CHECK_SECONDS
    answered = select.poll()
    answered.register(connection.fileno(), select.POLLIN)
    assert answered.poll(limit(10) * 1000)
    while asyncio.get_running_loop().time() <= due:
        pass
    assert await (await asking).fetchone() == (1,)
    connection.is_idle = False
    assert await (await connection.execute("SELECT 2")).fetchone() == (2,)
    await connection.close()


@pytest.mark.parametrize("state", ["57P01", "57P03", "08006"])
async def test_connections_are_replaced_after_a_failure_of_the_server(services: Container, state: str) -> None:
    """Also those of the pool that have not seen it."""

    async def pids() -> set[int]:
        async def pid() -> int:
            async with services.database.transaction() as db:
                found = (await db.execute(sa.text("SELECT pg_backend_pid() FROM pg_sleep(0.2)"))).scalar_one()
                return int(found)

        return set(await asyncio.gather(*(pid() for _ in range(3))))

    before = await pids()
    assert len(before) == 3
    raised = f"DO $$ BEGIN RAISE EXCEPTION 'gone' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(UNAVAILABLE):
        async with services.database.transaction() as db:
            await db.execute(sa.text(raised))
    assert not before & await pids()


async def test_tls_is_required_where_the_setting_says_so(settings: Settings) -> None:
    there = settings.model_copy(update={"db_sslmode": "verify-full"})
    with pytest.raises(psycopg.OperationalError, match=r"certificate|SSL"):
        await postgresql.connect(there)
    with pytest.raises(startup.Misconfigured, match="correct DB_SSLMODE or DB_SSLROOTCERT"):
        await startup.check_database(there)
