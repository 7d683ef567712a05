"""Does losing Redis cost a little time and never an answer?"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from plms_pipeline.access.answers import Answer, cache_key
from plms_pipeline.access.client import LEFT_ALONE_S, TIMEOUT_S, RedisAnswers
from plms_pipeline_tests.redis_servers import RedisServer, redis_cluster, redis_server

ANSWER = Answer(200, "d" * 64, {"run_id": "r", "status": "executing"})
KEYS = [cache_key("u", "POST", "/api/projects/1/start", f"key-{i}") for i in range(50)]


@dataclass
class Watched:
    """A cache whose stop watch the test moves, and what it told."""

    cache: RedisAnswers
    told: list[tuple[bool, str]]
    seconds: list[float] = field(default_factory=lambda: [0.0])

    def later(self, seconds: float) -> None:
        self.seconds[0] += seconds


def watched(url: str) -> Watched:
    told: list[tuple[bool, str]] = []
    seconds = [0.0]
    cache = RedisAnswers(
        url, stopwatch=lambda: seconds[0], lock=threading.Lock(), on_episode=lambda up, why: told.append((up, why))
    )
    return Watched(cache, told, seconds)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


@pytest.fixture
def caching(server: RedisServer) -> Iterator[Watched]:
    found = watched(server.url)
    yield found
    found.cache.close()


def test_what_was_put_is_found_until_its_time_is_over(caching: Watched, server: RedisServer) -> None:
    """The reason for having it."""
    caching.cache.put(KEYS[0], ANSWER, ttl_s=86_400)
    assert caching.cache.get(KEYS[0]) == ANSWER
    assert caching.cache.get(KEYS[1]) is None
    with redis.Redis(port=server.port) as client:
        assert 86_390 < int(client.ttl(KEYS[0])) <= 86_400  # type: ignore[arg-type]
    assert caching.told == []


def test_a_dead_server_is_a_miss_told_once_and_found_again(caching: Watched, server: RedisServer) -> None:
    """The sources answered 500 to every start while Redis was down."""
    caching.cache.put(KEYS[0], ANSWER, ttl_s=60)
    server.kill()
    assert caching.cache.get(KEYS[0]) is None
    caching.cache.put(KEYS[0], ANSWER, ttl_s=60)
    assert not caching.cache.is_up()
    caching.later(LEFT_ALONE_S)
    assert caching.cache.get(KEYS[0]) is None
    assert [up for up, _ in caching.told] == [False]
    server.start()
    assert caching.cache.get(KEYS[0]) is None
    caching.later(LEFT_ALONE_S)
    caching.cache.put(KEYS[0], ANSWER, ttl_s=60)
    assert caching.cache.get(KEYS[0]) == ANSWER
    assert [up for up, _ in caching.told] == [False, True]


def test_a_server_that_was_never_there_is_a_miss() -> None:
    """`plms serve` starts before Redis does."""
    caching = watched("redis://127.0.0.1:9/0")
    assert caching.cache.get(KEYS[0]) is None
    assert [up for up, _ in caching.told] == [False]


def test_a_server_that_hangs_costs_one_timeout_and_then_nothing(caching: Watched, server: RedisServer) -> None:
    """A full connection table or a stopped process answers nothing at all: no request may wait for it twice."""
    import signal

    caching.cache.put(KEYS[0], ANSWER, ttl_s=60)
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert caching.cache.get(KEYS[0]) is None
        first = time.monotonic() - began
        began = time.monotonic()
        assert [caching.cache.get(key) for key in KEYS] == [None] * len(KEYS)
        assert time.monotonic() - began < TIMEOUT_S
        assert first < 4 * TIMEOUT_S
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert [up for up, _ in caching.told] == [False]


def test_threads_that_fail_together_tell_of_one_outage(caching: Watched, server: RedisServer) -> None:
    """Each request in flight notices; the person on call is woken once."""
    caching.cache.put(KEYS[0], ANSWER, ttl_s=60)
    server.kill()
    threads = [threading.Thread(target=caching.cache.get, args=(KEYS[0],)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [up for up, _ in caching.told] == [False]


def test_a_connection_that_another_thread_closed_meanwhile_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    """When Redis was killed under load, one start in some hundred was answered 500."""

    class Closed:
        def get(self, key: str) -> None:
            # What the library says when its parser lost its buffer while it waited.
            raise AttributeError(f"'NoneType' object has no attribute 'readline' ({key})")

        def close(self) -> None: ...

    monkeypatch.setattr("plms_pipeline.access.client._connect", lambda _url: Closed())
    found = watched("redis://127.0.0.1:9")
    assert found.cache.get(KEYS[0]) is None
    assert found.told == [(False, "AttributeError")]


def test_what_somebody_else_stored_is_a_miss(caching: Watched, server: RedisServer) -> None:
    """Another program on the same Redis, or another version of ours."""
    with redis.Redis(port=server.port) as client:
        client.set(KEYS[0], b"not ours")
        client.lpush(KEYS[1], "a list")
    assert caching.cache.get(KEYS[0]) is None
    assert caching.cache.get(KEYS[1]) is None


def test_an_uncommonly_large_answer_is_not_kept(caching: Watched) -> None:
    """A cache is sized for answers, not for exports."""
    caching.cache.put(KEYS[0], Answer(200, "d", {"text": "x" * 300_000}), ttl_s=60)
    assert caching.cache.get(KEYS[0]) is None
    assert caching.told == []


@pytest.mark.live
def test_a_wrong_password_is_an_outage_and_no_error() -> None:
    """Rotated there, not here: starts go on, and somebody is told."""
    with redis_server("--requirepass", "right") as server:
        caching = watched(server.url.replace("redis://", "redis://:wrong@"))
        assert caching.cache.get(KEYS[0]) is None
        assert [up for up, _ in caching.told] == [False]


@pytest.mark.live
def test_on_a_cluster_every_node_finds_every_answer() -> None:
    """REDIS_URL names any node: the others' answers must be found from there, and all keys share one slot."""
    with redis_cluster() as nodes:
        caches: list[Any] = [watched(node.url) for node in nodes]
        for index, key in enumerate(KEYS):
            caches[index % 3].cache.put(key, ANSWER, ttl_s=60)
        for caching in caches:
            assert [caching.cache.get(key) for key in KEYS] == [ANSWER] * len(KEYS)
            assert caching.cache.is_up()
            assert caching.told == []
            caching.cache.close()
    assert len({key_slot(key.encode()) for key in KEYS}) == 1


@pytest.mark.live
def test_a_cluster_that_loses_the_node_of_our_slot_is_a_miss() -> None:
    """Two of three nodes live and none has our keys: misses and one fact, no error."""
    with redis_cluster() as nodes:
        slot = key_slot(KEYS[0].encode())
        owner = slot * 3 // 16384
        caching = watched(nodes[(owner + 1) % 3].url)
        caching.cache.put(KEYS[0], ANSWER, ttl_s=60)
        assert caching.cache.get(KEYS[0]) == ANSWER
        nodes[owner].kill()
        assert caching.cache.get(KEYS[0]) is None
        assert [up for up, _ in caching.told] == [False]
        caching.cache.close()
