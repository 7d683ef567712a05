"""Which priors stand in the books?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from plms_pipeline.errors import NoData
from plms_pipeline.estimates.adaptive import Correction
from plms_pipeline.estimates.method import QUANTILES
from plms_pipeline.estimates.predictive import stretched
from plms_pipeline.estimates.store import summaries as kept
from plms_pipeline.measures import MEASURES
from plms_pipeline.registry.engine import Registry

_LOW, _MEDIAN, _HIGH = QUANTILES.index(0.05), QUANTILES.index(0.5), QUANTILES.index(0.95)


def newest_priors(registry: Registry, *, at: datetime) -> Sequence[dict[str, Any]]:
    """The newest version of every prior with its interval, corrected by the last night before `at`.

    Raises:
        NoData: no night has written one.
    """
    with registry.reading() as session:
        rows = kept.newest_priors(session)
        held = kept.corrections(session, on=at.astimezone(UTC).date())
    if not rows:
        raise NoData("No prior was written yet; `plms nightly` learns them from the receipts in the books.")
    listed = []
    for row in rows:
        body = json.loads(row.priors_json)
        one: dict[str, Any] = {
            "lane_id": row.lane_id, "provider": row.provider_name, "basis": row.basis, "version": row.version,
            "as_of": row.as_of.isoformat(), "n": row.n_observations, "attempts_per_task": row.attempts_per_task,
            "priors_hash": row.priors_hash,
        }  # fmt: skip
        for measure in MEASURES:
            if measure in body:
                quantiles, median = body[measure]["quantiles"], body[measure]["quantiles"][_MEDIAN]
                factor = held.get((row.lane_id or 0, measure, row.basis), Correction(1.0, 0)).value
                one[measure] = {
                    "n": body[measure]["n"], "mean": body[measure]["mean"], "stddev": body[measure]["stddev"],
                    "median": median, "low": stretched(quantiles[_LOW], median, factor),
                    "high": stretched(quantiles[_HIGH], median, factor), "correction": factor,
                }  # fmt: skip
        listed.append(one)
    return listed
