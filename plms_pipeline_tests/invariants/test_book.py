"""Do the pure comparisons of the books answer on everything that a book may hold?"""

from __future__ import annotations

import hashlib
import json
import operator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plms_pipeline.invariants import book
from plms_pipeline.invariants.report import CAP
from plms_pipeline.kpis.gates import Condition

JUDGE = {">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt, "!=": operator.ne}
numbers = st.floats(-10, 10, allow_nan=False).map(lambda x: round(x, 2))
operators = st.sampled_from(sorted(JUDGE))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=15), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ("[1,2]", "must be a JSON object"), ("7", "must be a JSON object"), ("null", "must be a JSON object"),
        ("not json", "not valid JSON"), ("", "not valid JSON"), ('{"a":{">=":NaN}}', "NaN"), ("[" * 100_000, "not valid JSON"),
        ('{"code_tests":{">=":0.9}}', "code_tests"), ('{"test_pass_rate":{"=>":0.9}}', "=>"),
        ('{"test_pass_rate":0.9}', "condition"), ('{"test_pass_rate":{}}', "condition"),
        ('{"test_pass_rate":{">=":"high"}}', "finite number"), ('{"linter_pass":{"==":1}}', "true or false"),
    ],
)  # fmt: skip
def test_a_formula_that_cannot_be_judged_is_named_and_never_crashes(formula: str, why: str) -> None:
    """The original crashed on `[1,2]`, and then nothing else was checked that night."""
    problem = book.formula_problem(formula)
    assert problem is not None
    assert why in problem


@given(anything.map(json.dumps) | st.text(max_size=40))
def test_no_text_at_all_crashes_the_check_of_formulas(text: str) -> None:
    """One wrong row must not hide all others."""
    problem = book.formula_problem(text)
    assert problem != ""
    # What cannot be judged is told once: it is not compared with a lane besides.
    told = book.looser(text, {"test_pass_rate": [Condition(">=", 0.9)]})
    assert problem is None or told == []


def test_the_guides_own_formula_is_valid() -> None:
    """The example that people copy must not be reported."""
    assert book.formula_problem('{"test_pass_rate":{">=":0.9},"schema_diff":{"==":0}}') is None


@pytest.mark.parametrize(
    ("own", "bar", "is_looser"),
    [
        ((">=", 0.8), (">=", 0.9), True), ((">=", 0.9), (">=", 0.9), False), ((">=", 0.95), (">=", 0.9), False),
        ((">", 0.9), (">=", 0.9), False), ((">=", 0.9), (">", 0.9), True), (("<=", 0.99), (">=", 0.9), False),
        (("<=", 0.2), ("<=", 0.1), True), (("<=", 0.05), ("<=", 0.1), False), (("==", 0.5), (">=", 0.9), True),
        (("==", 1.0), (">=", 0.9), False), (("<=", 2), ("==", 0), True), (("==", 0), ("==", 0), False),
        (("==", 1), ("==", 0), True), (("==", False), ("==", True), True), (("==", 3), ("!=", 3), True),
        (("!=", 3), (">=", 0.9), False),
    ],
)  # fmt: skip
def test_looser_means_that_a_refused_value_would_pass(
    own: tuple[str, Any], bar: tuple[str, Any], is_looser: bool
) -> None:
    """A task that lowers its own bar is how work that fails its lane gets planned as done."""
    assert book.is_looser(Condition(*own), Condition(*bar)) is is_looser


@given(st.sampled_from([">=", ">", "<=", "<"]), numbers, st.sampled_from([">=", ">", "<=", "<"]), numbers)
def test_on_one_side_looser_is_what_brute_force_says(op: str, mine: float, lane_op: str, bar: float) -> None:
    """The oracle tries values around both bounds: looser if the task accepts one that the lane refuses."""
    if op[0] != lane_op[0]:
        return
    around = [edge + step for edge in (mine, bar) for step in (-1e-3, 0.0, 1e-3)]
    admits = any(JUDGE[op](value, mine) and not JUDGE[lane_op](value, bar) for value in around)
    assert book.is_looser(Condition(op, mine), Condition(lane_op, bar)) is admits


rows = st.lists(
    st.tuples(
        st.one_of(st.none(), numbers, st.sampled_from([0.0, 1.0])),
        st.dictionaries(operators, numbers | st.booleans(), min_size=1, max_size=2),
        st.booleans(),
    ),
    max_size=30,
)


@given(rows)
@example([(1.0, {"==": True}, True), (None, {"!=": 0.5}, False)])
def test_pass_agrees_with_value_and_threshold_as_one_row_at_a_time_says(drawn: list[tuple[Any, ...]]) -> None:
    """The vectorised comparison must be the plain one, or a wrong verdict slips through in a crowd."""
    stored = [(i, f"e{i}", "k", value, json.dumps(bar), passed) for i, (value, bar, passed) in enumerate(drawn)]
    expected = [
        f"e{i}"
        for i, (value, bar, passed) in enumerate(drawn)
        if passed != (value is not None and all(JUDGE[op](value, float(b)) for op, b in bar.items()))
    ]
    found = book.disagreeing(stored)
    assert found.checked == len(stored)
    assert found.total == len(expected)
    assert [text.split("evaluation_id=")[1].split()[0] for text in found.offenders] == expected[:CAP]


@pytest.mark.parametrize(
    "threshold", [None, "null", "[]", "{}", '{"~":1}', '{">=":"x"}', '{">=":null}', "broken", '{">=":[]}x']
)
def test_a_threshold_that_cannot_be_judged_offends(threshold: str | None) -> None:
    """The original's unknown operator failed in silence; here the receipt is named."""
    found = book.disagreeing([(1, "e", "readability", 8.0, threshold, True)])
    assert found.total == 1
    assert "cannot be judged" in found.offenders[0]


def test_several_bars_of_one_operator_all_count() -> None:
    """A gate that was made stricter keeps both conditions; passing one of them is not passing."""
    found = book.disagreeing(
        [(1, "e", "k", 0.92, '{">=":[0.9,0.95]}', True), (2, "f", "k", 0.96, '{">=":[0.9,0.95]}', True)]
    )
    assert [found.total, "evaluation_id=e " in found.offenders[0]] == [1, True]


class PriorRow(NamedTuple):
    """A row of `estimate_versions` as the statement gives it."""

    id: int
    lane_id: int | None
    provider_name: str
    basis: str
    version: int
    priors_json: str
    priors_hash: str
    tokens_mean: float | None = None
    tokens_stddev: float | None = None
    duration_ms_mean: float | None = None
    duration_ms_stddev: float | None = None
    cost_usd_mean: Decimal | None = None
    cost_usd_stddev: Decimal | None = None

    @property
    def _mapping(self) -> dict[str, Any]:
        return self._asdict()


def prior_row(text: str, hashed: str, **columns: Any) -> PriorRow:
    return PriorRow(2, None, "*", "spend", 3, text, hashlib.sha256(hashed.encode()).hexdigest(), **columns)


PRIOR = '{"cost_usd":{"n":1,"mean":0.1800001,"stddev":0.05}}'
COLUMNS = {"cost_usd_mean": Decimal("0.18"), "cost_usd_stddev": Decimal("0.05")}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (prior_row(PRIOR, PRIOR, **COLUMNS), ""),
        (prior_row(PRIOR + " ", PRIOR, **COLUMNS), "not what was hashed"),
        (prior_row(PRIOR, PRIOR, **{**COLUMNS, "cost_usd_mean": Decimal("0.10")}), "cost_usd_mean is 0.10"),
        (prior_row(PRIOR, PRIOR, **COLUMNS, tokens_mean=3000.0), "tokens_mean is 3000.0"),
        (prior_row(PRIOR, PRIOR), "cost_usd_mean is None"),
        (prior_row("[]", "[]"), "no object"),
        (prior_row("x", "x"), "no object"),
        (prior_row('{"cost_usd":7}', '{"cost_usd":7}'), "no object"),
    ],
)
def test_a_prior_whose_numbers_are_not_those_hashed_is_named(row: PriorRow, why: str) -> None:
    """Whoever edits a prior by hand edits what every plan costs; the guides read the columns, not the JSON."""
    found = book.unhashed_priors([row])
    assert (found.checked, found.total) == (1, 1 if why else 0)
    if why:
        assert "id=2 lane_id=None provider_name=* basis=spend version=3" in found.offenders[0]
        assert why in found.offenders[0]


def test_a_passport_must_be_there_and_be_the_one_that_was_hashed() -> None:
    """The original looked at no passport at all; a run with any id counted as replayable."""
    digest = hashlib.sha256(b"{}").hexdigest()
    found = book.broken_passports(
        [
            ("good", digest, "{}", digest),
            ("none", digest, None, None),
            ("edited", digest, "{ }", digest),
            ("other", "0" * 64, "{}", digest),
        ]
    )
    assert found.total == 3
    assert [text.split("run_id=")[1].split(":")[0] for text in found.offenders] == ["none", "edited", "other"]


def test_chunks_add_up_and_name_the_first_offenders_only() -> None:
    """A proof in chunks must say what a proof at once says."""
    parts = [book.found(10, [f"row {i}" for i in range(start, start + 15)]) for start in (0, 15, 30)]
    whole = book.merged(iter(parts))
    assert (whole.checked, whole.total) == (30, 45)
    assert whole.offenders == tuple(f"row {i}" for i in range(CAP))
    assert book.merged([]) == book.found(0, [])


def test_all_offenders_are_counted_and_only_the_first_are_named() -> None:
    """A million broken rows must not become a million lines."""
    found = book.found(5000, [f"row {i}" for i in range(1000)])
    assert (found.total, len(found.offenders)) == (1000, CAP)
