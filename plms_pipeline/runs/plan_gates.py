"""May a task ask this of its own work?

A task's `kpi_formula` may be stricter than its lane's gates, never looser. The gates are combined by conjunction, so a looser
condition could not lower the bar; it would only look as if it did. It is refused where it is written, with the line, and so are
one that says the same about every value and one that no value can satisfy together with the lane's. This is decided by trying
every value at which an answer can change: the thresholds themselves, a point between each two of them, and one beyond either
end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.gates import Condition, Gate, Value, always_the_same, combine, parse_formula
from plms_pipeline.kpis.vocabulary import KPIS


def faults(own: Iterable[Gate], lane: Iterable[Gate]) -> list[str]:
    """What is wrong with a task's own gates beside those of its lane, one sentence each; empty when nothing is.

    Args:
        own: the gates of the task (or those that a project asks of a lane).
        lane: the gates of the lane, one per KPI.
    """
    asked = {gate.kpi: gate.conditions for gate in lane}
    found = []
    for gate in own:
        base = asked.get(gate.kpi, ())
        points = _points(gate.kpi, (*base, *gate.conditions))
        found += [
            f"{gate.kpi} {_shown(each)} is looser than the lane's {_all_shown(base)}; "
            "a task's own gate may be stricter, never looser"
            for each in gate.conditions
            if base and _is_looser(each, base, points)
        ]
        vain = [fault for each in gate.conditions if (fault := always_the_same(gate.kpi, each)) is not None]
        found += vain
        if not vain and not any(_holds(gate.conditions, point) and _holds(base, point) for point in points):
            beside = f" beside the lane's {_all_shown(base)}" if base else ""
            found.append(f"no value of {gate.kpi} satisfies {_all_shown(gate.conditions)}{beside}")
    return found


def formula_gates(document: Any) -> tuple[Gate, ...]:
    """The gates of a formula that was read from a file: a mapping, or the text of one as JSON.

    Raises:
        BadInput: see `kpis.gates.parse_formula`.
    """
    if isinstance(document, str):
        return parse_formula(document)
    try:
        text = json.dumps(document, allow_nan=False)
    except (TypeError, ValueError):
        raise BadInput("kpi_formula holds something that JSON does not know", code="bad_kpi_formula") from None
    return parse_formula(text)


def formula_text(gates: Sequence[Gate]) -> str | None:
    """Gates as the canonical JSON of a `kpi_formula`; None when there are none.

    Raises:
        BadInput: a KPI has two conditions of one operator, which a formula cannot say (`bad_kpi_formula`).
    """
    if not gates:
        return None
    formula = {gate.kpi: gate.as_json() for gate in gates}
    for kpi, conditions in formula.items():
        if any(isinstance(threshold, list) for threshold in conditions.values()):
            raise BadInput(f"kpi_formula: {kpi} has two conditions of one operator", code="bad_kpi_formula")
    return json.dumps(formula, sort_keys=True, separators=(",", ":"))


def combined_text(project: Sequence[Gate], own: Sequence[Gate]) -> str | None:
    """The formula of a task: what its project asks of the lane and what the task asks of itself, both to hold."""
    return formula_text(combine(project, own))


def project_gates(stored: Mapping[str, Any] | None, lane_id: int) -> tuple[Gate, ...]:
    """What a project asks of a lane, from `projects.quality_slo_gates`."""
    formula = (stored or {}).get(str(lane_id)) or {}
    return formula_gates({kpi: conditions for kpi, conditions in formula.items() if kpi in KPIS})


def _is_looser(each: Condition, base: Sequence[Condition], points: Sequence[Value]) -> bool:
    implied = all(each.holds(point) for point in points if _holds(base, point))
    return implied and any(each.holds(point) and not _holds(base, point) for point in points)


def _holds(conditions: Sequence[Condition], value: Value) -> bool:
    return all(each.holds(value) for each in conditions)


def _points(kpi: str, conditions: Sequence[Condition]) -> list[Value]:
    """Values of the KPI between which no answer of the conditions can differ."""
    kind = KPIS[kpi].kind
    if kind == "flag":
        return [True, False]
    thresholds = sorted({each.threshold for each in conditions})
    if kind == "count":
        near = {math.floor(threshold) + step for threshold in thresholds for step in (-1, 0, 1, 2)}
        return [number for number in sorted(near) if number >= 0]
    between = [(low + high) / 2 for low, high in pairwise(thresholds)]
    found = sorted({*thresholds, *between, thresholds[0] - 1, thresholds[-1] + 1})
    if kind == "grade":
        return found
    low, high = 0.0, 1.0 if kind == "fraction" else math.inf
    inside = [value for value in found if low <= value <= high]
    ends = [low, high] if kind == "fraction" else [low]
    middles = [(a + b) / 2 for a, b in pairwise(sorted({*inside, *ends}))]
    return sorted({*inside, *ends, *middles})


def _shown(each: Condition) -> str:
    return f"{each.operator} {json.dumps(each.threshold)}"


def _all_shown(conditions: Sequence[Condition]) -> str:
    return " and ".join(_shown(each) for each in conditions)
