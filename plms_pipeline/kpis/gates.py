"""Does what was measured satisfy what was asked?

A gate asks one KPI for one or more conditions. Lanes own gates; a task's `kpi_formula` may add conditions and so be
stricter, never looser: the combined gate is the conjunction, so it passes only if the lane's own gate passes. What
cannot be judged (unknown KPI, unknown operator, a threshold of the wrong type) is an error before anything is measured.
The original dropped such gates, and lanes 4200 and 4201 were for months gated by the linter alone.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.vocabulary import ECHO, KPIS

Value = bool | int | float
Verdict = Literal["passed", "failed", "ungated"]

OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt, "!=": operator.ne,
}  # fmt: skip
ECHO_THRESHOLD: Final = 0.82


@dataclass(frozen=True, slots=True)
class Condition:
    """`value operator threshold` must hold. Build it with `condition`, which checks it."""

    operator: str
    threshold: Value

    def holds(self, value: Value) -> bool:
        """Whether `value` satisfies the condition; NaN satisfies none, not even `!=`."""
        if isinstance(value, float) and math.isnan(value):
            return False
        return OPERATORS[self.operator](value, self.threshold)


@dataclass(frozen=True, slots=True)
class Gate:
    """All `conditions` must hold for the KPI; `blocks` says whether a failure blocks completion or only advises."""

    kpi: str
    conditions: tuple[Condition, ...]
    blocks: bool = True

    def holds(self, value: Value | None) -> bool:
        """Whether every condition holds; what was not measured (None) holds nothing."""
        return value is not None and all(condition.holds(value) for condition in self.conditions)

    def deciding(self, value: Value | None) -> Condition:
        """The condition to show: the first that fails, or the first."""
        failing = (each for each in self.conditions if value is None or not each.holds(value))
        return next(failing, self.conditions[0])

    def as_json(self) -> dict[str, Any]:
        """`{">=": 0.9}`, as kept in `kpi_receipts.kpi_threshold`; several thresholds of one operator become a list."""
        found: dict[str, Any] = {}
        for each in self.conditions:
            if each.operator not in found:
                found[each.operator] = each.threshold
            elif isinstance(found[each.operator], list):
                found[each.operator].append(each.threshold)
            else:
                found[each.operator] = [found[each.operator], each.threshold]
        return found


def condition(kpi: str, operator_: object, threshold: object) -> Condition:
    """A checked condition on a KPI.

    Raises:
        BadInput: unknown KPI (`unknown_kpi`), unknown operator (`unknown_operator`), or a threshold that is not of the
            KPI's kind: true or false for a flag, a finite number otherwise (`bad_threshold`).
    """
    if kpi not in KPIS:
        raise BadInput(f"KPI {kpi!r} is not known; known are {', '.join(sorted(KPIS))}.", code="unknown_kpi")
    if not isinstance(operator_, str) or operator_ not in OPERATORS:
        raise BadInput(
            f"operator {operator_!r} of KPI {kpi} is not known; use one of {' '.join(OPERATORS)}.",
            code="unknown_operator",
        )
    if KPIS[kpi].kind == "flag":
        if not isinstance(threshold, bool) or operator_ not in ("==", "!="):
            raise BadInput(
                f"the gate {kpi} {operator_} {threshold!r} cannot be judged: {kpi} is true or false; "
                "use == or != with true or false.",
                code="bad_threshold",
            )
        return Condition(operator_, threshold)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
        raise BadInput(
            f"the gate {kpi} {operator_} {threshold!r} cannot be judged: the threshold must be a finite number.",
            code="bad_threshold",
        )
    return Condition(operator_, threshold)


def always_the_same(kpi: str, asked: Condition) -> str | None:
    """Why a condition says the same about every value that the KPI can have, and what to write instead; None if it does not.

    Whoever means 95 per cent and writes 95 would let nothing pass for ever, or with `<=` everything.
    """
    kind, sign, threshold = KPIS[kpi].kind, asked.operator, asked.threshold
    told = f"{kpi} {sign} {json.dumps(threshold)} would always say the same, because"
    if kind == "fraction" and (not 0 <= threshold <= 1 or (sign, threshold) in ((">", 1), ("<", 0))):
        return (
            f"{told} no value of {kpi} lies anywhere but between 0 and 1; write one in between, such as 0.95 for 95 %"
        )
    if kind in ("count", "ratio") and (threshold < 0 or (sign, threshold) == ("<", 0)):
        return f"{told} no value of {kpi} lies below 0; write 0 or more, such as {'1' if kind == 'count' else '0.05'}"
    return None


def parse_formula(text: str) -> tuple[Gate, ...]:
    """The gates of a task's `kpi_formula`: JSON such as `{"test_pass_rate": {">=": 0.95}, "schema_diff": {"==": 0}}`.

    Raises:
        BadInput: not JSON, not an object of objects, or a condition that `condition` refuses.
    """
    try:
        formula = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"kpi_formula is not valid JSON ({error}); {_EXAMPLE}", code="bad_kpi_formula") from None
    if not isinstance(formula, dict):
        raise BadInput(
            f"kpi_formula must be a JSON object, not {type(formula).__name__}; {_EXAMPLE}", code="bad_kpi_formula"
        )
    gates = []
    for kpi, conditions in formula.items():
        if not isinstance(conditions, dict) or not conditions:
            raise BadInput(f"kpi_formula: {kpi!r} needs at least one condition; {_EXAMPLE}", code="bad_kpi_formula")
        gates.append(Gate(kpi, tuple(condition(kpi, name, threshold) for name, threshold in conditions.items())))
    return tuple(gates)


_EXAMPLE: Final = 'write it as {"test_pass_rate": {">=": 0.9}}.'


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def combine(lane: Iterable[Gate], task: Iterable[Gate]) -> tuple[Gate, ...]:
    """The lane's gates made stricter by the task's: per KPI the conjunction of both, in order of the KPI's name.

    Of two conditions with the same ordering operator the stricter stays (it implies the other), so that a receipt shows
    one threshold; a looser one of the task disappears. Conditions that contradict each other stay and never pass.
    """
    conditions: dict[str, list[Condition]] = {}
    blocks: dict[str, bool] = {}
    for gate in (*lane, *task):
        conditions.setdefault(gate.kpi, []).extend(gate.conditions)
        blocks[gate.kpi] = blocks.get(gate.kpi, False) or gate.blocks
    return tuple(Gate(kpi, _strictest(conditions[kpi]), blocks[kpi]) for kpi in sorted(conditions))


def _strictest(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    kept: list[Condition] = []
    for each in conditions:
        rival = next((i for i, other in enumerate(kept) if other.operator == each.operator), None)
        if rival is None or (each.operator in ("==", "!=") and each.threshold != kept[rival].threshold):
            if each not in kept:
                kept.append(each)
        elif each.operator in (">=", ">"):
            kept[rival] = max(kept[rival], each, key=lambda it: it.threshold)
        elif each.operator in ("<=", "<"):
            kept[rival] = min(kept[rival], each, key=lambda it: it.threshold)
    return tuple(kept)


def echo_gate(*, enforced: bool) -> Gate:
    """The echo baseline of all lanes: cosine ≥ 0.82. It advises, unless `PLMS_ECHO_GATE=enforce`."""
    return Gate(ECHO, (Condition(">=", ECHO_THRESHOLD),), blocks=enforced)


def verdict_of(lane_gates: Sequence[Gate], passed: Mapping[str, bool], *, echo_blocks: bool = False) -> Verdict:
    """The verdict of an evaluation.

    Args:
        lane_gates: the combined gates of lane and task, without the echo baseline.
        passed: KPI → whether its gate holds.
        echo_blocks: whether the echo baseline counts as well.

    Returns:
        `failed` if any blocking gate failed; `ungated` if nothing but the echo asked; else `passed`. Work that nobody
        asked a question about is never called good: the original passed such lanes with 0 of 0 KPIs.
    """
    blocking = [gate.kpi for gate in lane_gates if gate.blocks]
    if any(not passed[kpi] for kpi in blocking) or (echo_blocks and not passed[ECHO]):
        return "failed"
    return "passed" if blocking else "ungated"
