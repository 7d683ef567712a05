"""Do the values of the books agree with each other? Pure comparisons; the rows come from store/, the files from files.py.

Nothing here raises on what it is given: a book may hold anything, and a comparison that crashes on `[1, 2]` proves nothing
about the other thousand rows. What cannot be compared is an offender, with the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plms_pipeline.errors import PlmsError
from plms_pipeline.invariants.rebuild import column_problem
from plms_pipeline.invariants.report import CAP, Found
from plms_pipeline.kpis.gates import OPERATORS, Condition, condition, parse_formula

_LOWER: Final = (">=", ">")
_UPPER: Final = ("<=", "<")


def found(checked: int, offenders: Sequence[str]) -> Found:
    """All offenders counted, the first `CAP` named."""
    return Found(checked, len(offenders), tuple(offenders[:CAP]))


def merged(parts: Iterable[Found]) -> Found:
    """The findings of all chunks as one; the first `CAP` offenders stay named."""
    checked, total, named = 0, 0, list[str]()
    for part in parts:
        checked, total = checked + part.checked, total + part.total
        named += part.offenders[: CAP - len(named)]
    return Found(checked, total, tuple(named))


def sha256_text(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def formula_problem(text: str) -> str | None:
    """Why a `kpi_formula` could not be judged, or None when it can: a JSON object of known KPIs, operators, thresholds."""
    try:
        parse_formula(text)
    except PlmsError as error:
        return error.message
    return None


def invalid_formulas(rows: Sequence[Sequence[Any]]) -> Found:
    """Planned tasks whose formula could not be judged; rows (id, lane, text)."""
    problems = {text: formula_problem(text) for text in {row[2] for row in rows}}
    return found(
        len(rows), [f"task_estimates id={row[0]}: {problems[row[2]]}" for row in rows if problems[row[2]] is not None]
    )


def loosening_formulas(rows: Sequence[Sequence[Any]], gates: Mapping[int, Mapping[str, Sequence[Condition]]]) -> Found:
    """Planned tasks whose formula asks less than their lane; rows (id, lane, text), gates by lane and KPI."""
    pairs = {(row[1], row[2]) for row in rows}
    told = {(lane, text): "; ".join(looser(text, gates.get(lane, {}))) for lane, text in pairs}
    return found(
        len(rows),
        [f"task_estimates id={row[0]} lane {row[1]}: {told[row[1], row[2]]}" for row in rows if told[row[1], row[2]]],
    )


def lane_gates(rows: Iterable[Sequence[Any]]) -> dict[int, dict[str, list[Condition]]]:
    """Lane → KPI → conditions, from (lane, KPI, operator, threshold) rows; a row that cannot be judged is left out."""
    gates: dict[int, dict[str, list[Condition]]] = defaultdict(lambda: defaultdict(list))
    for lane, kpi, operator, threshold in rows:
        try:
            gates[lane][kpi].append(condition(kpi, operator, threshold))
        except PlmsError:
            continue
    return {lane: dict(by_kpi) for lane, by_kpi in gates.items()}


def looser(text: str, lane: Mapping[str, Sequence[Condition]]) -> list[str]:
    """How a valid formula asks less than its lane, one sentence per gate; empty when it is at least as strict.

    A formula is combined with its lane's gates, so a looser one has no effect on a verdict; but whoever wrote it believed in
    a lower bar, and the plan was made for that bar.
    """
    try:
        gates = parse_formula(text)
    except PlmsError:
        return []
    return [
        f"{gate.kpi} {_shown(own)} is looser than the lane's {_shown(bar)}"
        for gate in gates
        for bar in lane.get(gate.kpi, ())
        for own in gate.conditions
        if is_looser(own, bar)
    ]


def _shown(asked: Condition) -> str:
    return f"{asked.operator} {json.dumps(asked.threshold)}"


def is_looser(own: Condition, bar: Condition) -> bool:
    """Whether `own` admits, on the side that `bar` bounds, a value that `bar` refuses.

    `>= 0.8` is looser than `>= 0.9`; `<= 0.99` is not, because it bounds the other side and the two hold together. An
    equality is looser when it asks for a value that the bar refuses; beside an equality every inequality is.
    """
    if own.operator == "==":
        return not bar.holds(own.threshold)
    if bar.operator == "==":
        return True
    for side, direction in ((_LOWER, 1), (_UPPER, -1)):
        if own.operator in side and bar.operator in side:
            gap = (own.threshold - bar.threshold) * direction
            return gap < 0 or (gap == 0 and len(own.operator) > len(bar.operator))
    return False


def disagreeing(rows: Sequence[Sequence[Any]]) -> Found:
    """KPI receipts whose `pass` is not what their value says about their threshold.

    Rows are (id, evaluation, KPI, value or None, threshold text or None, pass). Vectorised over rows with equal thresholds:
    there are a handful of those, however many receipts there are.
    """
    groups: dict[str | None, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        groups[row[4]].append(place)
    wrong: dict[int, str] = {}
    for threshold, places in groups.items():
        values = np.array([np.nan if rows[place][3] is None else float(rows[place][3]) for place in places])
        passed = np.array([bool(rows[place][5]) for place in places])
        try:
            holds = _holds(threshold, values)
        except (ValueError, TypeError) as error:
            wrong |= dict.fromkeys(places, f"its threshold {threshold!r} cannot be judged ({error})")
            continue
        for place in np.asarray(places)[holds != passed].tolist():
            wrong[place] = f"value {rows[place][3]} {threshold} but pass is {bool(rows[place][5])}"
    return found(
        len(rows), [f"kpi_receipts evaluation_id={rows[p][1]} kpi_name={rows[p][2]}: {wrong[p]}" for p in sorted(wrong)]
    )


def _holds(threshold: str | None, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each value satisfies every condition of a threshold such as `{">=":0.9}`; NaN (no value) satisfies none."""
    conditions = json.loads(threshold) if threshold is not None else None
    if not isinstance(conditions, dict) or not conditions:
        raise ValueError("no object of conditions")
    holds = ~np.isnan(values)
    for operator, bars in conditions.items():
        if operator not in OPERATORS:
            raise ValueError(f"unknown operator {operator}")
        for bar in bars if isinstance(bars, list) else [bars]:
            holds &= np.asarray(OPERATORS[operator](values, float(bar)), dtype=bool)
    return holds


def unhashed_priors(rows: Sequence[Any]) -> Found:
    """Priors whose hash is not the SHA-256 of their JSON text, or whose columns say something else than that text."""
    wrong = []
    for row in rows:
        problem = "its JSON is not what was hashed" if row.priors_hash != sha256_text(row.priors_json or "") else ""
        problem = problem or column_problem(row.priors_json, row._mapping)
        if problem:
            key = f"id={row.id} lane_id={row.lane_id} provider_name={row.provider_name} basis={row.basis} version={row.version}"
            wrong.append(f"estimate_versions {key}: {problem}")
    return found(len(rows), wrong)


def broken_passports(rows: Sequence[Sequence[Any]]) -> Found:
    """Passports that are missing or not what was hashed; rows (run, its SHA-256, text or None, passport's SHA-256)."""
    wrong = []
    for run_id, in_run, text, in_passport in rows:
        if text is None:
            wrong.append(f"project_runs run_id={run_id}: it has no row in run_passports")
        elif not in_run == in_passport == sha256_text(text):
            wrong.append(f"run_passports run_id={run_id}: text, sha256 and the run's passport_sha256 disagree")
    return found(len(rows), wrong)
