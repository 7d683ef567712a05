"""Which sources can this process look at, and how often?"""

from __future__ import annotations

from plms_pipeline.alerts.client import api_latency, redis_info
from plms_pipeline.alerts.looking import Source
from plms_pipeline.alerts.sources import budget, candidates, daemon, latency, machine, nights, redis, spending, work
from plms_pipeline.settings import Settings


def sources_of_the_books(settings: Settings) -> tuple[Source, ...]:
    """What every process can look at that has the registry, the disk and the neighbours."""
    return (
        Source("budget", budget.look, settings.budget_check_s),
        Source("killswitch", work.killswitch, 5.0),
        Source("spending", spending.look, 60.0),
        Source("redis", redis.looking(redis_info), 30.0),
        Source("passports", work.passports, 60.0),
        Source("gates", work.gates, 60.0),
        Source("guards", work.guards, 30.0),
        Source("failures", work.failures, 60.0),
        Source("letters", work.letters, 60.0),
        Source("evidence", work.evidence, 60.0),
        Source("disk", machine.disk, 60.0),
        Source("daemon", daemon.look, 60.0),
        Source("latency", latency.looking(api_latency), 60.0),
        Source("lanes", work.lanes, 300.0),
        Source("nights", nights.look, 300.0),
        Source("drift", work.drift, 600.0),
        Source("candidates", candidates.look, 30.0),
        Source("secrets", machine.secrets, 600.0),
    )
