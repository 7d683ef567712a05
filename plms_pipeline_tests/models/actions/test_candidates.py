"""Does a training become a candidate, counted and judged with the trials that there were?"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from plms_pipeline.errors import PlmsError
from plms_pipeline.models.actions.candidates import retrain_candidate
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.decision.tree import recommend_candidate
from plms_pipeline.models.evaluation.gates import GateConfig
from plms_pipeline.models.files.candidate import SUMMARY_FILE
from plms_pipeline.models.files.reading import sha256_of
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.records import Candidate
from plms_pipeline.models.training.experiment import experiment
from plms_pipeline_tests.models.candidates import LAUNCHER, House
from plms_pipeline_tests.models.worlds import market

SHORT = {"walk_forward": {"train": 150, "test": 40}}


def prices(home: House) -> Path:
    home.root.mkdir(parents=True, exist_ok=True)
    path = home.root / "prices.csv"
    write_prices(path, market().raw)
    return path


def trained(home: House, name: str, *, trials: int = 1, seed: int = 7) -> Candidate:
    asked = Request(
        prices(home),
        experiment({**SHORT, "seed": seed}),
        gates=GateConfig(resamples=200),
        trials=trials,
        reason="weekly",
    )
    done, candidate = retrain_candidate(
        home.registry, asked, root=home.root, clock=home.clock, run_id=name, code_version="0", actor=LAUNCHER,
        expiry=timedelta(days=14),
    )  # fmt: skip
    assert done.summary["deflated_sharpe"] is None or done.summary["deflated_sharpe"]["trials"] == candidate.trials
    assert candidate.bytes.evaluation == sha256_of(done.run.path / SUMMARY_FILE)
    return candidate


def test_the_registry_counts_the_trials_that_a_training_is_judged_with(light: House) -> None:
    """Twenty experiments of which one is told were judged as if there had been one."""
    assert [trained(light, "one").trials, trained(light, "two", seed=8).trials] == [1, 2]
    # The same experiment again is no further trial, and a caller may only raise the count.
    assert trained(light, "three").trials == 2
    assert trained(light, "four", trials=9).trials == 9
    assert trained(light, "five", trials=1, seed=9).trials == 3


def test_a_candidate_waits_with_what_was_judged(light: House) -> None:
    """What a person decides about must be what was judged, down to the byte."""
    one = trained(light, "one")
    assert (one.state, one.requested_by, one.reason) == ("waiting", "ann", "weekly")
    assert one.action == recommend_candidate(one).action
    assert one.gates_passed == (not one.blockers)
    # Four hundred bars are too few for any verdict: nobody may approve this.
    assert "has_enough_periods_out_of_sample" in one.blockers
    with pytest.raises(PlmsError) as refused:
        light.decide("one", "approve")
    assert refused.value.code == "gates_failed"


def test_a_training_that_cannot_be_registered_is_harmless_and_says_so(light: House) -> None:
    """After an hour of training, "the id is taken" alone is no answer."""
    trained(light, "one")
    with pytest.raises(PlmsError, match=r"lies at .*it is no candidate") as refused:
        trained(light, "one", seed=8)
    assert refused.value.code == "candidate_exists"
    assert len(list((light.root / "automation_runs").iterdir())) == 2
