"""Private parts of libraries that the product overrides, copies or sets, by hashes of their source.

Where an upgrade changes one of them, the failure names the function, and the module of ours to read again. Once that
is done, `python -m tests.contract.test_seams` prints the table with new hashes.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
import re
import tomllib
from typing import Any, NamedTuple

import pytest

from contract import schemas

UVICORN_HTTP = "uvicorn.protocols.http.httptools_impl"
UVICORN_WS = "uvicorn.protocols.websockets.websockets_sansio_impl"


class Seam(NamedTuple):
    """Parts of one upstream class or module that one module of ours overrides, copies or relies on."""

    module: str
    package: str
    upstream: str
    #: Hashes by name.
    functions: dict[str, str]
    #: Attributes of instances that we set, or read, as upstream's own code does.
    attributes: tuple[str, ...] = ()


SEAMS = [
    Seam(
        "adapters/postgresql.py",
        "psycopg",
        "psycopg:AsyncConnection",
        {
            "wait": "13b1d8272287cf1e",
            "notifies": "8bf9f82553586608",
            "cancel_safe": "5a71f8b2c3a52c82",
            "connect": "30b0e76c073d4b58",
        },
    ),
    Seam(
        "cli/draining.py",
        "uvicorn",
        "uvicorn.server:Server",
        {
            "startup": "f5f2d28194859ddf",
            "shutdown": "75d082d1a8d429c5",
            "handle_exit": "97d620adb18baf9f",
            "capture_signals": "f14aa8674efa9bd9",
        },
        ("servers", "server_state", "lifespan"),
    ),
    Seam(
        "cli/supervisor.py",
        "uvicorn",
        "uvicorn.supervisors.multiprocess:Multiprocess",
        {
            "keep_subprocess_alive": "121dd1cad44ecb3b",
            "run": "de70bf15cb11d412",
            "terminate_all": "deee8b71a8ccd844",
        },
        ("processes", "should_exit"),
    ),
    Seam(
        "cli/supervisor.py",
        "uvicorn",
        "uvicorn.supervisors.multiprocess:Process",
        {
            "_healthcheck": "8d2a097c42960128",
            "start": "d46d7d42f51eb065",
            "terminate": "532b630ada90b546",
            "kill": "54bf3c99fa64fdf1",
        },
        ("child_conn",),
    ),
    Seam(
        "contract/http_server.py",
        "uvicorn",
        f"{UVICORN_HTTP}:HttpToolsProtocol",
        {
            "__init__": "905b91f2d5cf4115",
            "connection_made": "b4322d5141d76aaa",
            "connection_lost": "d6565d9c5462d195",
            "data_received": "b4f9892d120d3dbd",
            "on_message_begin": "afa5b0b05b0ee2b6",
            "on_url": "17e60da75ce99989",
            "on_header": "ad40beaab858ca6c",
            "on_headers_complete": "09d867a0c1322fe0",
            "on_body": "9492092df82580ab",
            "on_message_complete": "656de52940d2e4ff",
            "on_response_complete": "f6ae4a31a9a633ac",
            "handle_websocket_upgrade": "ae350936e76f7a14",
            "shutdown": "4c59c260b3d56211",
            "_unset_keepalive_if_required": "9daed956b86c6e27",
            "_start_asgi_task": "dcc5a31fb6b7ca30",
        },
        (
            "app",
            "app_state",
            "connections",
            "cycle",
            "expect_100_continue",
            "flow",
            "headers",
            "loop",
            "parser",
            "pipeline",
            "root_path",
            "scope",
            "server_state",
            "timeout_keep_alive",
            "transport",
            "url",
            "access_log",
            "access_logger",
            "logger",
        ),
    ),
    Seam(
        "contract/http_exchange.py",
        "uvicorn",
        f"{UVICORN_HTTP}:RequestResponseCycle",
        {"__init__": "80caf3b699f3483b", "send": "a5e03b3eaa3d9cea"},
        (
            "default_headers",
            "disconnected",
            "flow",
            "keep_alive",
            "message_event",
            "more_body",
            "on_response",
            "response_complete",
            "response_started",
            "scope",
            "transport",
            "waiting_for_100_continue",
        ),
    ),
    Seam(
        "contract/http_limits.py",
        "uvicorn",
        "uvicorn.protocols.http.flow_control:FlowControl",
        {
            "__init__": "a1bab63851be979c",
            "pause_reading": "46aa5462c5014878",
            "resume_reading": "81fd815aa9cad28d",
            "drain": "4552eea5c081e889",
        },
        (
            "read_paused",
            "write_paused",
        ),
    ),
    Seam(
        "contract/websocket.py",
        "uvicorn",
        f"{UVICORN_WS}:WebSocketsSansIOProtocol",
        {
            "__init__": "9f7c0b85ee1c4ff5",
            "connection_made": "bd9f70d2879a44c9",
            "connection_lost": "e620c3571abf2954",
            "data_received": "7e5370f5c19cf2a7",
            "handle_events": "ef8fdaf4fabe732b",
            "handle_connect": "4bfe4c9f88617aef",
            "handle_cont": "299b525195c73c61",
            "handle_text": "c85f89909c89c039",
            "handle_bytes": "70d5b42818b89780",
            "handle_ping": "b60b96bc47410ae7",
            "handle_pong": "d0958d93a2bd0c4c",
            "handle_close": "3b62736383a9b8db",
            "handle_parser_exception": "99718b6b0bd92e95",
            "send_receive_event_to_app": "4c6bc8367f5af0d0",
            "shutdown": "9ff5b527030951e5",
            "pause_writing": "8808377d5952fec1",
            "resume_writing": "4145ec007e940237",
            "run_asgi": "e9cdd02c1d6140fc",
            "send_500_response": "cce1089a3879ad20",
        },
        (
            "app",
            "close_sent",
            "close_timeout",
            "close_timer",
            "conn",
            "connections",
            "curr_msg_data_type",
            "default_headers",
            "disconnected",
            "frames",
            "handshake_complete",
            "handshake_initiated",
            "logger",
            "loop",
            "pending_ping_payload",
            "ping_timer",
            "pong_timer",
            "queue",
            "read_paused",
            "request",
            "response",
            "scope",
            "tasks",
            "transport",
            "writable",
        ),
    ),
    Seam(
        "contract/websocket.py",
        "websockets",
        "websockets.utils",
        {"apply_mask": "5cb3f2e6ca131fdd"},
    ),
    Seam(
        "contract/websocket.py",
        "websockets",
        "websockets.protocol:Protocol",
        {
            "__init__": "30256e0c64ca803a",
            "receive_data": "131cedcacc0009da",
            "fail": "3d9fb750a8c5d047",
            "send_close": "edfe5c7c1ae51d6b",
            "data_to_send": "51e84f6bded886e2",
        },
        ("logger",),
    ),
    Seam(
        "contract/transport.py",
        "python-engineio",
        "engineio.async_server:AsyncServer",
        {
            "_handle_connect": "1362909d5993485c",
            "_trigger_event": "6337dfa4eb84e437",
            "disconnect": "d5e4d288fba31764",
            "send": "a06f7194126e9edc",
            "send_packet": "d9a44cab43c166b2",
            "_get_socket": "7ee17479f9ba55da",
            "generate_id": "06d759b362588c48",
        },
        (
            "sockets",
            "max_http_buffer_size",
            "reason",
        ),
    ),
    Seam(
        "contract/transport.py",
        "python-engineio",
        "engineio.async_socket:AsyncSocket",
        {"send": "e9900b2d3d8bba6f", "close": "e6c68f9196a6ff49"},
        (
            "sid",
            "closed",
            "closing",
        ),
    ),
    Seam(
        "contract/socket_server.py",
        "python-socketio",
        "socketio.async_manager:AsyncManager",
        {
            "__init__": "f234fc6a5d9332da",
            "connect": "f2ef25298ea84427",
            "disconnect": "7d1e9a59f6408a59",
            "can_disconnect": "04f052d7ba4c84e1",
            "pre_connect": "0d9af8f72d4cc95c",
            "pre_disconnect": "6f390d4c0c2cd978",
            "is_connected": "8b19eb7c98f187f1",
            "sid_from_eio_sid": "7ee8046c9958b278",
            "eio_sid_from_sid": "d06f019ac491b27a",
            "get_namespaces": "9cf51c7cd51af15e",
        },
        ("server",),
    ),
    Seam(
        "contract/socket_server.py",
        "python-socketio",
        "socketio.async_server:AsyncServer",
        {
            "__init__": "435b97cecbd20195",
            "_engineio_server_class": "3180d9ee67004bce",
            "disconnect": "949a2471dec409c2",
            "_handle_connect": "c63371091e36d08c",
            "_handle_disconnect": "dac13a865ba33e73",
            "_handle_eio_connect": "af5a272255a1c917",
            "_handle_eio_disconnect": "2a280db6f47210d7",
            "_handle_eio_message": "a1240a37eed02ac7",
            "_handle_event": "a59142f9f4ffa2df",
            "_handle_event_internal": "85ee831d6af9e8a7",
            "_send_packet": "5d632500bc50b005",
            "_send_eio_packet": "bde0df8c5a1ff90a",
            "_trigger_event": "c5ffda5158972e31",
        },
        (
            "eio",
            "environ",
            "handlers",
            "manager",
            "manager_initialized",
            "packet_class",
            "reserved_events",
            "reason",
        ),
    ),
    Seam(
        "contract/socket_server.py",
        "python-socketio",
        "socketio.packet:Packet",
        {"__init__": "4c22a9d93fa30f68", "decode": "d0375bffda5964b3", "encode": "e4a06f1135c53daa"},
        (
            "packet_type",
            "data",
            "namespace",
            "id",
            "attachment_count",
        ),
    ),
    Seam(
        "contract/socket_server.py",
        "python-socketio",
        "engineio.async_drivers.asgi:ASGIApp",
        {"__call__": "9e6bd1cec3ee73ef"},
        ("engineio_server",),
    ),
    Seam(
        "contract/fast_path.py",
        "connexion",
        "connexion.middleware.abstract:RoutedAPI",
        {
            "__init__": "ed527af8b24ddc4b",
            "add_paths": "0070a3ed485dd214",
            "add_operation": "27ca9a5cf636acc8",
            "make_operation": "07d806b31d8f2701",
        },
        (
            "base_path",
            "operations",
            "resolver",
        ),
    ),
    Seam(
        "contract/fast_path.py",
        "connexion",
        "connexion.middleware.abstract:SpecMiddleware",
        {"add_api": "6b6f77ede3b046f5", "__call__": "79ac9f8962f70857"},
    ),
    Seam(
        "contract/parameters.py",
        "connexion",
        "connexion.validators.parameter:ParameterValidator",
        {
            "validate": "926b01a02c02ecc1",
            "validate_parameter": "3fc11d74181ee8cb",
            "validate_query_parameter_list": "6bdef95a7dc91c64",
        },
        ("parameters",),
    ),
    Seam(
        "contract/security.py",
        "connexion",
        "connexion.security:BearerSecurityHandler",
        {"get_fn": "a957b6fb31786e44", "get_auth_header_value": "8ae9026fede43dda"},
    ),
    Seam(
        "contract/middleware.py",
        "starlette",
        "starlette.middleware.cors:CORSMiddleware",
        {
            "__call__": "9667ac2563da8bad",
            "simple_response": "6c378dec4a15daed",
            "send": "f284c4029b633ade",
            "allow_explicit_origin": "d19c7d4e0218064c",
            "is_allowed_origin": "e3dfc3c9cb0d5801",
        },
        ("simple_headers",),
    ),
    Seam(
        "adapters/jobs.py",
        "procrastinate",
        "procrastinate.manager:JobManager",
        {"finish_job": "13461f7aae5b2e5e", "retry_job": "e6543b9502ee1a53"},
        ("connector",),
    ),
    # `stop` counts from the first step of `run`, in every state of it.
    Seam(
        "cli/worker.py",
        "procrastinate",
        "procrastinate.worker:Worker",
        {"run": "1c1f21ecb4175c88", "stop": "f040ae20d7f311f5"},
    ),
    Seam(
        "adapters/redis.py",
        "redis",
        "redis.asyncio.client:Redis",
        {
            "register_script": "7aa62154f7291701",
            "execute_command": "0819e7e0613c09a5",
            "parse_response": "ee2c711bc4f060de",
            "aclose": "7196af46d8009ca9",
        },
        ("response_callbacks",),
    ),
    Seam(
        "adapters/redis.py",
        "redis",
        "redis.commands.core:AsyncScript",
        {"__init__": "2c87c93cebad4308", "__call__": "4d269afc984f3b88"},
    ),
    Seam(
        "adapters/redis_cluster.py",
        "redis",
        "redis.asyncio.cluster:NodesManager",
        {"initialize": "f022e71f596b7e38", "move_slot": "4eb7aebc486e8ded", "get_node_from_slot": "37bf0544d4f3faff"},
    ),
    Seam(
        "adapters/redis_cluster.py",
        "redis",
        "redis.asyncio.cluster:RedisCluster",
        {"keyslot": "51b844ba7fd4774d", "get_primaries": "b392eac9579ae3c1"},
        ("nodes_manager",),
    ),
    Seam(
        "adapters/redis_link.py",
        "redis",
        "redis.asyncio.sentinel:Sentinel",
        {"check_master_state": "85df3348e08889dc"},
        ("sentinels",),
    ),
    Seam("adapters/redis_link.py", "redis", "redis.asyncio.connection:RedisSSLContext", {"get": "306b26df19d2c9c2"}),
]


def source_hash(source: str) -> str:
    """Hash a source without regard to its whitespace."""
    return hashlib.sha256(re.sub(r"\s+", " ", source).strip().encode()).hexdigest()[:16]


def upstream_source(upstream: str, name: str) -> str:
    found: Any = find_upstream(upstream)
    for part in filter(None, name.split(".")):
        found = getattr(found, part)
    if isinstance(found, property):
        found = found.fget
    return inspect.getsource(found)


def find_upstream(upstream: str) -> Any:
    module, _, name = upstream.partition(":")
    found: Any = importlib.import_module(module)
    return getattr(found, name) if name else found


def problem(seam: Seam, name: str, source: str) -> str | None:
    """Describe a changed upstream function; None where it is the one that our module was written for."""
    if (now := source_hash(source)) == seam.functions[name]:
        return None
    version = importlib.metadata.version(seam.package)
    return (
        f"{seam.upstream}.{name} is another in {seam.package} {version}: read {seam.module} again, "
        f"then write its new hash, {now}, into tests/contract/test_seams.py"
    )


ROWS = [pytest.param(seam, name, id=f"{seam.upstream}.{name}") for seam in SEAMS for name in seam.functions]


@pytest.mark.parametrize(("seam", "name"), ROWS)
def test_upstream_function_is_unchanged(seam: Seam, name: str) -> None:
    assert (changed := problem(seam, name, upstream_source(seam.upstream, name))) is None, changed


@pytest.mark.parametrize("seam", [each for each in SEAMS if each.attributes], ids=lambda each: each.upstream)
def test_upstream_class_sets_the_attributes_we_use(seam: Seam) -> None:
    classes = [each for each in find_upstream(seam.upstream).__mro__ if each.__module__ != "builtins"]
    source = "\n".join(inspect.getsource(each) for each in classes if each.__module__.split(".")[0] != "asyncio")
    missing = [name for name in seam.attributes if not re.search(rf"\bself\.{name}\b", source)]
    assert missing == [], f"{seam.upstream} has no {missing}: read {seam.module} again"


def test_changed_source_names_the_function_and_our_module() -> None:
    seam = SEAMS[0]
    name = next(iter(seam.functions))
    source = upstream_source(seam.upstream, name)
    assert problem(seam, name, source.replace("\n", "\n\n")) is None
    changed = problem(seam, name, source + "    self.added = True\n")
    assert changed is not None
    assert f"{seam.upstream}.{name}" in changed and seam.module in changed


@pytest.mark.parametrize("module", sorted({seam.module for seam in SEAMS}))
def test_every_override_of_a_seam_class_is_listed(module: str) -> None:
    """A method that our class overrides is one that an upgrade may change."""
    listed: dict[Any, set[str]] = {}
    for seam in SEAMS:
        if seam.module == module and ":" in seam.upstream:
            listed.setdefault(find_upstream(seam.upstream), set()).update(seam.functions)
    ours = importlib.import_module(module.removesuffix(".py").replace("/", "."))
    missing = {
        f"{cls.__name__}.{name}"
        for cls in vars(ours).values()
        if inspect.isclass(cls) and cls.__module__ == ours.__name__
        for upstream, names in listed.items()
        if issubclass(cls, upstream)
        for name, value in vars(cls).items()
        if inspect.isroutine(value)
        and name not in ("__init__", "__subclasshook__")
        and callable(getattr(upstream, name, None))
        if name not in names
    }
    assert missing == set()


@pytest.mark.parametrize("package", sorted({seam.package for seam in SEAMS}))
def test_library_is_pinned_to_its_minor_version(package: str) -> None:
    major, minor = importlib.metadata.version(package).split(".")[:2]
    project = tomllib.loads((schemas.ROOT / "pyproject.toml").read_text())["project"]
    [pin] = [each for each in project["dependencies"] if re.match(rf"{package}(\[[^]]*\])?>", each)]
    assert pin.endswith(f">={major}.{minor},<{major}.{int(minor) + 1}")


if __name__ == "__main__":
    for seam in SEAMS:
        hashes = {name: source_hash(upstream_source(seam.upstream, name)) for name in seam.functions}
        print(f"    {seam._replace(functions=hashes)!r},")
