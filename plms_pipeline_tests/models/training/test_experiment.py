from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.guardrails import GuardrailConfig
from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
from plms_pipeline.models.training.costs import Costs
from plms_pipeline.models.training.experiment import BoostingSection, GuardrailsSection, ThresholdsSection, experiment
from plms_pipeline.models.training.walkforward import Plan

DOCUMENT = Path(__file__).parents[3] / "docs" / "experiment.md"


def test_the_empty_document_is_the_default_experiment() -> None:
    """`plms retrain` without a file trains what the documentation says."""
    asked = experiment({})
    assert asked.plan == Plan(1_500, 250, 1, 0, expanding=False)
    assert asked.costs == Costs(1e-4, 1e-4, 0.0)
    assert asked.model.kind == "ridge"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"modle": {}}, "modle is not a known key"),
        ({"model": {"kind": "ridge", "alhpa": 1.0}}, "model.alhpa is not a known key"),
        ({"model": {"kind": "forest"}}, "model"),
        ({"seed": "7"}, "seed"),
        ({"seed": -1}, "seed"),
        ({"model": {"kind": "ridge", "alpha": 0}}, "model.alpha"),
        ({"target": {"horizon": 1.5}}, "target.horizon"),
        ({"trading": {"k": float("nan")}}, "trading.k"),
        ({"walk_forward": {"purge": 2}, "target": {"horizon": 5}}, "reaches that far into the test"),
        ({"name": "../etc"}, "name"),
        ({"data": {"symbols": []}}, "data.symbols"),
        ({"schema_version": 2}, "schema_version"),
        ({"thresholds": {"min_sharp": 1.0}}, "thresholds.min_sharp is not a known key"),
        ({"thresholds": {"max_drawdown": -0.1}}, "thresholds: max_drawdown is -0.1; it is compared with sizes"),
        ({"thresholds": {"max_tail_frequency": 0.1}}, "thresholds: max_tail_frequency counts returns below"),
        ({"guardrails": {"enforcement": "shrug"}}, "guardrails.enforcement"),
        ({"guardrails": {"capital_base": 0}}, "guardrails: capital_base is 0"),
        ({"guardrails": {"sector_caps": {"tech": -1}}}, r"guardrails: sector_caps\[tech\] is -1"),
    ],
)
def test_what_is_wrong_is_named_and_refused(document: dict[str, object], told: str) -> None:
    """A mistyped key that trains quietly with the default costs a week of wrong conclusions."""
    with pytest.raises(BadInput, match=told):
        experiment(document)


def test_a_model_without_a_kind_is_the_default_one() -> None:
    """Every other section may name only what differs; this one was refused with words about a discriminator."""
    assert experiment({"model": {"alpha": 3.0}}) == experiment({"model": {"kind": "ridge", "alpha": 3.0}})
    with pytest.raises(BadInput, match=r"model\.leaves is not a known key"):
        experiment({"model": {"leaves": 3}})


def test_all_problems_are_named_at_once() -> None:
    """Nobody wants to correct a file one error at a time."""
    with pytest.raises(BadInput, match=r"seed.*target\.horizon"):
        experiment({"seed": -1, "target": {"horizon": 0}})


def test_the_purge_covers_the_horizon_by_itself() -> None:
    """Whoever lengthens the horizon must not have to remember the purge."""
    assert experiment({"target": {"horizon": 5}}).plan.purge == 5


def test_documents_that_mean_the_same_have_the_same_digest() -> None:
    """The manifest's digest says whether two candidates were asked for alike."""
    short = experiment({"model": {"kind": "boosting"}})
    long = experiment({"seed": 7, "model": {"leaves": 15, "kind": "boosting", "learning_rate": 0.05}})
    assert isinstance(short.model, BoostingSection)
    assert short.digest() == long.digest() != experiment({}).digest()
    assert experiment({"target": {"clip": 6}}).digest() == experiment({}).digest()


def test_limits_of_the_file_are_those_that_judge() -> None:
    """A limit that is written down and not asked protects nobody."""
    asked = experiment(
        {"thresholds": {"min_sharpe": 1, "max_drawdown": 0.05}, "guardrails": {"enabled": True, "max_turnover": 2}}
    )
    assert (asked.thresholds.limits.min_sharpe, asked.thresholds.limits.max_drawdown) == (1.0, 0.05)
    assert asked.thresholds.limits.max_turnover is None
    assert (asked.guardrails.config.enabled, asked.guardrails.config.max_turnover) == (True, 2.0)
    assert experiment({}).guardrails.config == GuardrailConfig()
    assert experiment({}).thresholds.limits == OperationsThresholds()
    for section, compared in ((GuardrailsSection, GuardrailConfig), (ThresholdsSection, OperationsThresholds)):
        # Which column is which is said where the columns are; a new limit that nobody can set would be a limit in name.
        assert set(section.model_fields) == {one.name for one in fields(compared)} - {"columns"}
    assert asked.digest() != experiment({}).digest()


def test_the_documented_file_is_the_default_experiment() -> None:
    """What people copy must be read, and its defaults must be ours; a key that is not in it is not documented."""
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert experiment(shown).canonical() == experiment({}).canonical()
    whole = json.loads(experiment({}).canonical())
    assert {name: set(section) for name, section in shown.items() if isinstance(section, dict)} == {
        name: set(section) for name, section in whole.items() if isinstance(section, dict)
    }
    assert set(shown) == set(whole)
    boosting = json.loads(experiment({"model": {"kind": "boosting"}}).canonical())["model"]
    assert all(f"`{name}`" in text for name in boosting.keys() - {"kind"})
