"""Does what is told of a candidate follow from its files?"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from plms_pipeline.models.evaluation.bootstrap import Interval
from plms_pipeline.models.evaluation.gates import Evidence, GateConfig, judge
from plms_pipeline.models.stages.candidate import evaluation_stage, predictions_stage, summary_stage
from plms_pipeline.models.stages.names import GATES
from plms_pipeline.models.training.manifest import fold_facts
from plms_pipeline_tests.models.worlds import small_training


def folds() -> list[dict[str, Any]]:
    return [fold_facts(one) for one in small_training().folds]


def frame() -> pd.DataFrame:
    return small_training().predictions.frame()


def untrue(rows: pd.DataFrame, known: list[dict[str, Any]] | None = None) -> dict[str, str]:
    stage = predictions_stage(rows, small_training().metrics, folds() if known is None else known)
    return {one.name: one.why for one in stage.checks if not one.passed}


def test_honest_predictions_make_every_sentence_true() -> None:
    """A check that is always red is looked at by nobody."""
    assert untrue(frame()) == {}


def test_a_prediction_of_what_its_model_was_trained_on_is_found() -> None:
    """Evaluation on training rows is the oldest way to look skilled."""
    known = folds()
    known[0]["train_to"] = known[0]["test_to"]
    assert set(untrue(frame(), known)) == {"every_prediction_is_out_of_sample"}
    assert set(untrue(frame(), known[1:])) == {"every_prediction_is_out_of_sample"}
    known = folds()
    # Weights that it started from had seen its test.
    known[2]["known_to"] = known[2]["test_from"]
    assert "fold 2 predicts" in untrue(frame(), known)["every_prediction_is_out_of_sample"]
    known = folds()
    known[-1]["test_to"] = known[-1]["test_from"]
    assert "behind its last moment" in untrue(frame(), known)["every_prediction_is_out_of_sample"]


def test_an_outcome_that_was_known_is_no_prediction() -> None:
    """A horizon of nothing predicts with certainty."""
    rows = frame()
    rows.loc[3, "target_timestamp_1"] = rows.loc[3, "window_end"]
    assert set(untrue(rows)) == {"every_outcome_is_later_than_its_prediction"}


def test_price_levels_in_place_of_returns_are_found() -> None:
    """The source showed prices to the risk lead as a total return of 168 000 000 %."""
    rows = frame()
    rows["realised_return"] = 100.0 + rows.index
    assert set(untrue(rows)) == {"realised_returns_are_no_price_levels"}


def test_every_gate_is_a_sentence_and_every_sentence_a_gate() -> None:
    """A gate without a check blocks in silence; a check without a gate is always green."""
    unknown = Interval(None, None, None, 0.99)
    verdict = judge(Evidence(10, unknown, unknown, None, 1), GateConfig())
    assert [gate.name for gate in verdict.gates] == list(GATES)
    told = evaluation_stage(json.loads(json.dumps(verdict.as_document()))["gates"])
    assert not any(one.passed for one in told.checks)
    assert all(one.why for one in told.checks)


def test_a_gate_that_the_file_does_not_have_was_not_passed() -> None:
    """A file with its inconvenient line taken out would otherwise pass."""
    told = evaluation_stage([{"name": next(iter(GATES)), "passed": True, "value": 1.0, "threshold": 0.0, "reason": ""}])
    assert [one.passed for one in told.checks] == [True] + [False] * (len(GATES) - 1)
    assert evaluation_stage([]).facts["passed"] is False


@pytest.mark.parametrize(
    ("alerts", "passed"), [([], True), ([{"code": "x", "value": 1.0, "message": "too much."}], False)]
)
def test_a_broken_limit_is_told_with_its_reason(alerts: list[dict[str, Any]], passed: bool) -> None:
    """An alert that only stands in a file is read after the loss."""
    summary = {"risk": {}, "alerts": alerts, "returns": {"periods": 1, "first": "a", "last": "b"}}
    told = summary_stage(summary, sha256="0" * 64, path="x").checks[0]
    assert (told.passed, told.why) == (passed, "" if passed else "too much.")
