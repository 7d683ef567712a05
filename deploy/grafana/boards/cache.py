"""Idempotency cache, hour by hour (guide 000, panel 5 and section 4): hit rate, memory, evictions."""

from __future__ import annotations

from typing import Final

from deploy.grafana.parts import GREEN, ORANGE, RED, Board, Panel, prom, sql

UP: Final = {"0": ("down", RED), "1": ("up", GREEN)}

CACHE: Final = Board(
    uid="plms-cache",
    title="PLMS idempotency cache",
    about="Redis keeps finished answers; the registry decides. 5 to 15 % of hits is normal, above 50 % something loops.",
    since="now-24h",
    refresh="1m",
    panels=(
        Panel(
            "Redis", "Away: answers come from the registry, slower.",
            [prom("plms_redis_up", "Redis", now=True)], draw="stat", span=4, words=UP,
        ),
        Panel(
            "Hit rate of Redis", "Keys that were found, of the last hour.",
            [prom("""increase(plms_redis_keyspace_hits_total[1h])
 / (increase(plms_redis_keyspace_hits_total[1h]) + increase(plms_redis_keyspace_misses_total[1h]) > 0)""", "hits")],
            unit="percentunit", span=10, steps=((None, GREEN), (0.15, ORANGE), (0.5, RED)), least=0, most=1,
        ),
        Panel(
            "Answers given again", "Of the requests that carried a key, in the last hour.",
            [prom("""sum(increase(plms_api_idempotent_answers_total{replay="true"}[1h]))
 / (sum(increase(plms_api_idempotent_answers_total[1h])) > 0)""", "replays")],
            unit="percentunit", span=10, steps=((None, GREEN), (0.15, ORANGE), (0.5, RED)), least=0, most=1,
        ),
        Panel(
            "Memory", "In use, beside what there is; over 80 % is told.",
            [prom("plms_redis_memory_used_bytes", "used"), prom("plms_redis_memory_limit_bytes", "limit")],
            unit="bytes", least=0,
        ),
        Panel(
            "Share of the memory", "Over 80 %: shorten the TTL, or give it more.",
            [prom("plms_redis_memory_used_bytes / plms_redis_memory_limit_bytes", "used", now=True)],
            draw="gauge", unit="percentunit", span=6, steps=((None, GREEN), (0.7, ORANGE), (0.8, RED)), least=0, most=1,
        ),
        Panel(
            "Keys that are remembered", "Rows of the registry, by state.",
            [prom("plms_idempotency_keys", "{{state}}", now=True)], draw="stat", span=6,
        ),
        Panel(
            "Evictions and expiries", "Keys an hour: evicted means that Redis is too small.",
            [prom("increase(plms_redis_evicted_keys_total[1h])", "evicted"),
             prom("increase(plms_redis_expired_keys_total[1h])", "expired")], least=0,
        ),
        Panel(
            "Keys by hour", "First seen; from the registry.",
            [sql("""
                SELECT date_trunc('hour', k.created_at) AS hour, k.state, count(*) AS keys
                  FROM idempotency_keys k WHERE $__timeFilter(k.created_at)
                 GROUP BY 1, 2 ORDER BY 1
            """)],
            draw="table",
        ),
    ),
)  # fmt: skip
