"""What does Redis count, and how much memory does it use?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisError
from redis.retry import Retry

from plms_pipeline.errors import Unavailable
from plms_pipeline.monitoring.exporter.series import Samples
from plms_pipeline.settings import masked

TIMEOUT_S = 1.0
# Series → the field of INFO that it tells; over a cluster they are added up.
FIELDS: Mapping[str, str] = {
    "plms_redis_memory_used_bytes": "used_memory",
    "plms_redis_keyspace_hits_total": "keyspace_hits",
    "plms_redis_keyspace_misses_total": "keyspace_misses",
    "plms_redis_evicted_keys_total": "evicted_keys",
    "plms_redis_expired_keys_total": "expired_keys",
}


def ask(url: str, samples: Samples) -> None:
    """Put what Redis says of itself into samples; of a cluster the sum of its primaries.

    Raises:
        Unavailable: it does not answer.
    """
    retry = Retry(NoBackoff(), 0)
    try:
        with redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=retry) as one:
            said: Any = one.info()
        nodes = [said]
        if said.get("cluster_enabled"):
            cluster: Any = RedisCluster.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
            try:
                nodes = list(cluster.info(target_nodes=RedisCluster.PRIMARIES).values())
            finally:
                cluster.close()
    except (RedisError, OSError, ValueError) as error:
        raise Unavailable(
            f"Redis at {masked(url)} does not answer ({type(error).__name__}); check REDIS_URL and that it runs.",
            code="redis_unavailable",
        ) from error
    samples.put_all({name: sum(float(node.get(field, 0)) for node in nodes) for name, field in FIELDS.items()})
    limit = sum(float(node.get("maxmemory") or node.get("total_system_memory") or 0) for node in nodes)
    if limit:
        samples.put("plms_redis_memory_limit_bytes", limit)
