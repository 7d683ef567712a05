"""What do Redis and the API say about themselves? One bounded question each; an outage is an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx

from plms_pipeline.alerts.sources.latency import Buckets
from plms_pipeline.alerts.sources.redis import RedisInfo

TIMEOUT_S: Final = 2.0
MOST_BYTES: Final = 8 * 2**20


def redis_info(url: str) -> RedisInfo | None:
    """What Redis counts; None when it does not answer. Of a cluster, what the node of the URL says."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = redis.Redis.from_url(
        url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )
    try:
        memory, stats = client.info("memory"), client.info("stats")
    except (redis.RedisError, OSError):
        return None
    finally:
        client.close()
    return RedisInfo(
        int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0)), int(stats.get("keyspace_hits", 0)),
        int(stats.get("keyspace_misses", 0)),
    )  # fmt: skip


def api_latency(url: str) -> Mapping[str, Buckets] | None:
    """Endpoint → cumulative buckets of its latency; None where nobody serves."""
    try:
        with (
            httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != 200:
                return None
            text = b""
            for chunk in answer.iter_bytes():
                text += chunk
                if len(text) > MOST_BYTES:
                    return None
    except httpx.HTTPError:
        return None
    from plms_pipeline.alerts.metrics import latency_buckets

    return latency_buckets(text.decode("utf-8", "replace"))
