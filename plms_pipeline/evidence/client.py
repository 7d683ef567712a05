"""What lies in Redis as evidence, and how is an observation told there?

One round trip for all that is in flight. An evidence hash is written with its time to live in one transaction, so that a crash
between the two commands leaves no hash that lives for ever. A server that does not answer is a failed look for everything that
was asked, never an exception: what to make of it is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import httpx
import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from plms_pipeline.errors import NoData, Unavailable
from plms_pipeline.evidence.metrics import counters_of
from plms_pipeline.evidence.obligations import Record
from plms_pipeline.evidence.sights import ABSENT, Sight, failed, malformed, sight_of
from plms_pipeline.settings import masked

TIMEOUT_S: Final = 1.0
MAX_STREAM: Final = 10_000
_FAILURES: Final = (RedisError, OSError, ValueError)
# Longer values are not evidence of ours: they are cut before they are looked at.
_MAX_VALUE: Final = 4096


class RedisEvidence:
    """Evidence hashes and the stream of observations. Safe to share between threads.

    Args:
        url: REDIS_URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )

    def look(self, keys: Collection[str]) -> dict[str, Sight]:
        """What lies under each key; never raises."""
        asked = list(keys)
        if not asked:
            return {}
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for key in asked:
                    pipe.hgetall(key)
                answers = pipe.execute(raise_on_error=False)
        except _FAILURES as error:
            return dict.fromkeys(asked, failed(f"{type(error).__name__}: {error}"))
        return {key: _sight(answer) for key, answer in zip(asked, answers, strict=True)}

    def put(self, key: str, record: Record, *, ttl_s: int) -> None:
        """Write evidence, with its time to live or not at all.

        Raises:
            Unavailable: Redis does not answer (`redis_unavailable`).
        """
        written: dict[Any, Any] = record.as_hash()
        try:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(key)
                pipe.hset(key, mapping=written)
                pipe.expire(key, ttl_s)
                pipe.execute()
        except _FAILURES as error:
            raise self._away(error) from error

    def remove(self, key: str) -> None:
        """Remove evidence.

        Raises:
            Unavailable: Redis does not answer (`redis_unavailable`).
        """
        try:
            self._redis.delete(key)
        except _FAILURES as error:
            raise self._away(error) from error

    def tell(self, stream: str, events: Sequence[Mapping[str, str]]) -> None:
        """Append events to a stream that keeps about 10 000; all or an error, then some may have been told.

        Raises:
            Unavailable: Redis does not answer, or refuses them (`redis_unavailable`).
        """
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for event in events:
                    fields: dict[Any, Any] = dict(event)
                    pipe.xadd(stream, fields, maxlen=MAX_STREAM, approximate=True)
                pipe.execute()
        except _FAILURES as error:
            raise self._away(error) from error

    def told(self, stream: str, *, newest: int) -> list[dict[str, str]]:
        """The newest events of a stream, newest first.

        Raises:
            Unavailable: Redis does not answer (`redis_unavailable`).
        """
        try:
            entries: Any = self._redis.xrevrange(stream, count=newest)
        except _FAILURES as error:
            raise self._away(error) from error
        return [_text(fields) for _, fields in entries or ()]

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"Redis at {masked(self._url)} does not answer ({type(error).__name__}); check REDIS_URL and that the server runs.",
            code="redis_unavailable",
        )


def read_counters(url: str) -> tuple[str, dict[str, int]]:
    """The observer that shows its metrics at a URL, and how often it counted each reason.

    Raises:
        Unavailable: nobody answers there (`metrics_unavailable`).
        NoData: the page shows no observer (`no_observer`).
    """
    try:
        answer = httpx.get(url, timeout=5.0).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(
            f"No metrics at {masked(url)} ({type(error).__name__}); name the page of a running observer.",
            code="metrics_unavailable",
        ) from error
    observer_id, counts = counters_of(answer.text)
    if observer_id is None:
        raise NoData(
            f"The page {masked(url)} shows no observer; name that of `plms serve` or `plms observe --metrics-port`.",
            code="no_observer",
        )
    return observer_id, counts


def _sight(answer: object) -> Sight:
    if isinstance(answer, ResponseError) and "WRONGTYPE" in str(answer):
        # Not an outage: the server answers, and what lies there is no hash.
        return malformed("the key holds no hash")
    if isinstance(answer, Exception):
        return failed(f"{type(answer).__name__}: {answer}")
    if not isinstance(answer, Mapping):
        return malformed("the answer is no hash")
    return sight_of(_text(answer)) if answer else ABSENT


def _text(fields: Mapping[object, object]) -> dict[str, str]:
    return {_word(key): _word(value) for key, value in fields.items()}


def _word(value: object) -> str:
    return value[:_MAX_VALUE].decode("utf-8", "replace") if isinstance(value, bytes) else str(value)[:_MAX_VALUE]
