"""What does a page of metrics say about latency?"""

from __future__ import annotations

import math
from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

from plms_pipeline.alerts.sources.latency import Buckets

SERIES = "plms_api_latency_seconds"


def latency_buckets(text: str) -> dict[str, Buckets]:
    """`METHOD endpoint` → (upper edge in seconds or None, answers up to it), edges ascending."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        if family.name != SERIES:
            continue
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                name = f"{sample.labels.get('method', '')} {sample.labels.get('endpoint', '')}"
                found[name].append((float(sample.labels["le"]), float(sample.value)))
    return {
        name: [(None if math.isinf(edge) else edge, count) for edge, count in sorted(buckets)]
        for name, buckets in found.items()
    }
