"""Batched scripts: the failure of one call does not affect others, and no script runs twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions
from pydantic import SecretStr

from adapters.redis_pipeline import RedisPipeline
from container import Container
from devtools.embedded import EmbeddedServices
from settings import Settings
from testing.time_limits import limit
from tests.services.test_bus import Line

SCRIPTS = {
    "count": "return redis.call('INCR', KEYS[1])",
    "answer": "return {ARGV[1], {1, false, 'é'}}",
    "each": """local answers = {}
        for index = 2, #ARGV do
          answers[index - 1] = {ARGV[1] .. ARGV[index], redis.call('INCR', KEYS[1]), #ARGV - 1}
        end
        return answers""",
    "fail": "return redis.error_reply('REFUSED not today')",
}
Directory = Path


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    for name, source in SCRIPTS.items():
        (tmp_path / f"{name}.lua").write_text(source)
    return tmp_path


@pytest.fixture
async def line(settings: Settings) -> AsyncIterator[Line]:
    made = Line(settings.redis_port)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def scripts(settings: Settings, line: Line, directory: Directory) -> AsyncIterator[RedisPipeline]:
    made = RedisPipeline(settings.model_copy(update={"redis_port": line.port}), directory)
    yield made
    await made.close()


@pytest.fixture
async def key(container: Container, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    name = f"test:scripts:{request.node.name}"
    yield name
    await container.redis.delete(name)


async def test_calls_of_one_batch_get_their_own_results(scripts: RedisPipeline, key: str) -> None:
    counts = await asyncio.gather(*(scripts.call("count", [key]) for _ in range(1000)))
    assert counts == list(range(1, 1001))
    answers = await asyncio.gather(*(scripts.call("answer", args=[number]) for number in range(100)))
    assert answers == [[str(number), [1, None, "é"]] for number in range(100)]
    assert await scripts.execute("GET", key) == "1000"


async def test_calls_of_one_batch_run_the_script_once(scripts: RedisPipeline, container: Container, key: str) -> None:
    await container.redis.script_flush()

    async def call(number: int, shared: str = "n") -> Any:
        return await scripts.call_together("each", (key,), (shared,), (number,))

    answers = await asyncio.gather(*(call(number) for number in range(64)), call(64, "other"))
    assert answers == [[f"n{number}", number + 1, 64] for number in range(64)] + [["other64", 65, 1]]
    assert [answer[2] for answer in await asyncio.gather(*map(call, range(65)))] == [64] * 64 + [1], "too many at once"
    gone, *rest = [asyncio.ensure_future(call(number)) for number in range(3)]
    await asyncio.sleep(0)
    gone.cancel()
    assert [answer[0] for answer in await asyncio.gather(*rest)] == ["n1", "n2"]


async def test_script_error_fails_the_whole_batch(scripts: RedisPipeline, line: Line, key: str) -> None:
    refused = await asyncio.gather(
        *(scripts.call_together("fail", (), (), ()) for _ in range(3)), return_exceptions=True
    )
    assert [str(each) for each in refused] == ["REFUSED not today"] * 3
    line.loses_answer_to, line.losses = key.encode(), 1
    lost = await asyncio.gather(
        *(scripts.call_together("each", (key,), ("n",), (number,)) for number in range(3)), return_exceptions=True
    )
    assert [type(each) for each in lost] == [redis.exceptions.ConnectionError] * 3, "what may have been done"


async def test_error_of_one_call_does_not_affect_others(scripts: RedisPipeline, key: str) -> None:
    calls = [scripts.call("fail") if number % 2 else scripts.call("count", [key]) for number in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert answers[::2] == list(range(1, 11))
    assert all(
        isinstance(error, redis.exceptions.ResponseError) and "not today" in str(error) for error in answers[1::2]
    )


async def test_cancelled_call_does_not_affect_others(scripts: RedisPipeline, key: str) -> None:
    await scripts.execute("PING")
    calls = [scripts.call("count", [key]) for _ in range(20)]
    calls[3].cancel()  # before it is sent: it does not happen
    await asyncio.sleep(0)
    calls[7].cancel()  # after: it has happened
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, int)] == [
        number for number in range(1, 20) if number != 7
    ]


async def test_unknown_scripts_alone_are_loaded_and_repeated(
    scripts: RedisPipeline, container: Container, key: str
) -> None:
    for _ in range(5):
        await container.redis.script_flush()
        before = int(await container.redis.get(key) or 0)
        calls = [scripts.execute("INCR", key) if number % 2 else scripts.call("count", [key]) for number in range(100)]
        answers = await asyncio.gather(*calls)
        assert sorted(answers) == list(range(before + 1, before + 101))


async def test_only_repeatable_calls_are_retried_after_a_loss(
    scripts: RedisPipeline, container: Container, line: Line, key: str
) -> None:
    await scripts.call("count", [key])
    line.loses_answer_to, line.losses = key.encode(), 1
    with pytest.raises(redis.exceptions.ConnectionError):
        await scripts.call("count", [key])
    assert await container.redis.get(key) == "2"
    line.losses = 1
    assert await scripts.call("count", [key], idempotent=True) == 4  # its counting is how one sees it twice
    line.losses = 2
    with pytest.raises(redis.exceptions.ConnectionError):
        await scripts.call("count", [key], idempotent=True)
    assert line.lost == 4
    assert await scripts.call("count", [key]) == 7


async def test_idle_connection_loss_fails_no_call(scripts: RedisPipeline, line: Line, key: str) -> None:
    for number in range(1, 20):
        assert await scripts.call("count", [key]) == number
        line.cut()
        await asyncio.sleep(0.01)


async def test_broken_connection_fails_the_whole_batch(
    scripts: RedisPipeline, container: Container, line: Line, key: str
) -> None:
    await scripts.call("count", [key])
    line.loses_answer_to, line.losses = key.encode(), 1
    answers = await asyncio.gather(*(scripts.call("count", [key]) for _ in range(50)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [redis.exceptions.ConnectionError] * 50
    assert await container.redis.get(key) == "51"


async def test_calls_fail_fast_without_redis_and_recover(settings: Settings, directory: Directory, key: str) -> None:
    line = Line(settings.redis_port)
    scripts = RedisPipeline(settings.model_copy(update={"redis_port": line.port}), directory)
    started = time.monotonic()
    answers = await asyncio.gather(*(scripts.call("count", [key]) for _ in range(50)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [redis.exceptions.ConnectionError] * 50
    assert time.monotonic() - started < limit(2)
    await line.open()
    assert await scripts.call("count", [key]) == 1
    await scripts.close()
    await line.close()


async def test_wrong_redis_password_is_named(settings: Settings, directory: Directory, tmp_path: Path) -> None:
    with EmbeddedServices(tmp_path / "valkey", durable=False, only={"valkey"}) as variables:
        there = settings.model_copy(update={"redis_port": int(variables["REDIS_PORT"])})
        for password in (None, SecretStr("right"), SecretStr("wrong")):
            scripts = RedisPipeline(there.model_copy(update={"redis_password": password}), directory)
            if password is None:
                await scripts.execute("CONFIG", "SET", "requirepass", "right")
            elif password.get_secret_value() == "right":
                assert await scripts.execute("PING") == "PONG"
            else:
                with pytest.raises(redis.exceptions.ConnectionError, match="WRONGPASS"):
                    await scripts.execute("PING")
            await scripts.close()


async def test_pending_calls_fail_on_close(settings: Settings, directory: Directory, key: str) -> None:
    scripts = RedisPipeline(settings, directory)
    await scripts.execute("PING")
    waiting = scripts.execute("BLPOP", key, 3)
    await asyncio.sleep(0.05)
    await scripts.close()
    with pytest.raises(redis.exceptions.ConnectionError):
        await waiting
