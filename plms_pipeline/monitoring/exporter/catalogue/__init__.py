"""Every series of the exporter's page, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from plms_pipeline.monitoring.exporter.catalogue.lanes import LANES
from plms_pipeline.monitoring.exporter.catalogue.machine import MACHINE
from plms_pipeline.monitoring.exporter.catalogue.models import MODELS
from plms_pipeline.monitoring.exporter.catalogue.money import MONEY
from plms_pipeline.monitoring.exporter.catalogue.proofs import PROOFS
from plms_pipeline.monitoring.exporter.catalogue.work import WORK
from plms_pipeline.monitoring.exporter.series import Series

# In the order in which the page and docs/metrics.md tell them.
CATALOGUE: Final[Mapping[str, Series]] = {
    each.name: each for each in (*MACHINE, *LANES, *WORK, *MONEY, *PROOFS, *MODELS)
}
