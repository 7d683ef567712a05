"""The dashboards: the five of guide 000, the invariants' eight panels, operations (guides 003 and 004), models (002)."""

from __future__ import annotations

from typing import Final

from deploy.grafana.boards.budget import BUDGET
from deploy.grafana.boards.cache import CACHE
from deploy.grafana.boards.calibration import CALIBRATION
from deploy.grafana.boards.invariants import INVARIANTS
from deploy.grafana.boards.kpi import KPI
from deploy.grafana.boards.lanes import LANES
from deploy.grafana.boards.models import MODELS
from deploy.grafana.boards.operations import OPERATIONS

BOARDS: Final = (BUDGET, LANES, KPI, CALIBRATION, CACHE, INVARIANTS, OPERATIONS, MODELS)
