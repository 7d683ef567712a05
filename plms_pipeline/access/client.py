"""Which finished answers does Redis remember, and what if it is away?

Redis is a cache and nothing more: the registry decides. So whatever goes wrong here is a miss, never an error, and never
costs a request more than the timeout: after a failure Redis is left alone for a few seconds. An outage is told once when it
begins and once when it ends. A server that says it is part of a cluster is talked to as a cluster.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisError
from redis.retry import Retry

from plms_pipeline.access.answers import Answer, decoded, encoded
from plms_pipeline.settings import masked

TIMEOUT_S = 0.25
LEFT_ALONE_S = 3.0
MAX_ANSWER_BYTES = 256 * 1024
# The last one: of threads that fail together the first closes the connections, and one that is being read by another thread
# then has no buffer any more, which the library does not expect.
_FAILURES = (RedisError, OSError, ValueError, AttributeError)
_log = logging.getLogger(__name__)


class RedisAnswers:
    """An `AnswerCache` in Redis. Safe to share between threads.

    Args:
        url: REDIS_URL, of a server or of any node of a cluster.
        stopwatch: seconds on a clock that never jumps.
        lock: held while the state changes, so that threads which fail together tell of one outage.
        on_episode: told (is up, reason) when Redis goes away and when it is back; must return at once and not raise.
    """

    def __init__(
        self,
        url: str,
        *,
        stopwatch: Callable[[], float],
        lock: AbstractContextManager[object],
        on_episode: Callable[[bool, str], None] = lambda _up, _why: None,
    ) -> None:
        self._url = url
        self._stopwatch = stopwatch
        self._on_episode = on_episode
        self._lock = lock
        self._connected: redis.Redis | RedisCluster | None = None
        self._is_down = False
        self._again_at = 0.0

    def get(self, key: str) -> Answer | None:
        """The answer under a key; None when there is none, or Redis is away."""
        data = self._ask(lambda client: client.get(key))
        return decoded(data) if isinstance(data, bytes) else None

    def put(self, key: str, answer: Answer, *, ttl_s: int) -> None:
        """Remember an answer; nothing happens when Redis is away or the answer is uncommonly large."""
        data = encoded(answer)
        if len(data) <= MAX_ANSWER_BYTES:
            self._ask(lambda client: client.set(key, data, ex=max(1, ttl_s)))

    def is_up(self) -> bool:
        """Whether Redis answers now; while it is left alone after a failure, False."""
        return self._ask(lambda client: client.ping()) is True

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._connected is not None:
                self._connected.close()
                self._connected = None

    def _ask(self, command: Callable[[redis.Redis | RedisCluster], object]) -> object:
        if self._is_down and self._stopwatch() < self._again_at:
            return None
        try:
            answer = command(self._client())
        except _FAILURES as error:
            self._failed(type(error).__name__)
            return None
        if self._is_down:
            self._recovered()
        return answer

    def _client(self) -> redis.Redis | RedisCluster:
        with self._lock:
            if self._connected is None:
                self._connected = _connect(self._url)
            return self._connected

    def _failed(self, reason: str) -> None:
        with self._lock:
            first = not self._is_down
            self._is_down = True
            self._again_at = self._stopwatch() + LEFT_ALONE_S
            # After a failover the node that we know may be the wrong one, or a member of a cluster by now.
            dropped, self._connected = self._connected, None
        if dropped is not None:
            dropped.close()
        if first:
            _log.error("event=cache_lost url=%s reason=%s", masked(self._url), reason)
            self._on_episode(False, reason)

    def _recovered(self) -> None:
        with self._lock:
            first, self._is_down = self._is_down, False
        if first:
            _log.warning("event=cache_recovered url=%s", masked(self._url))
            self._on_episode(True, "answers again")


def _connect(url: str) -> redis.Redis | RedisCluster:
    single = redis.Redis.from_url(
        url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )
    try:
        is_cluster = bool(single.info("cluster").get("cluster_enabled"))
    except BaseException:
        single.close()
        raise
    if not is_cluster:
        return single
    single.close()
    return RedisCluster.from_url(
        url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 2)
    )
