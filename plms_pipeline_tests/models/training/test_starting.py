"""Does a training take over what its parent learnt, and never what that had seen of a test?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.market.bars import NUMBERS, Bars, Flags
from plms_pipeline.models.training.experiment import Experiment, branch
from plms_pipeline.models.training.fit import Training, parent_of, train
from plms_pipeline.models.training.linear import LinearModel
from plms_pipeline.models.training.starting import Checkpoint, Start, folds_known_to, known_to
from plms_pipeline_tests.models.worlds import small_bars, small_experiment, small_training

# So stubborn that whatever starts warm is its parent again.
STUBBORN = small_experiment(model={"kind": "ridge", "alpha": 1e13})
NEVER = np.datetime64("1990-01-01", "us")


def parent(known: np.datetime64, **changes: object) -> Start:
    start = Start("c0", "0" * 64, small_training().candidate, small_experiment(), known)
    return replace(start, **changes)  # type: ignore[arg-type]


def warm(start: Start, asked: Experiment = STUBBORN) -> Training:
    return train(small_bars(), asked, start=start)


def slopes(model: object) -> object:
    assert isinstance(model, LinearModel)
    return model.slopes()


def test_a_parent_that_kept_no_older_weights_leaves_its_folds_cold() -> None:
    """What the champion learnt from a test block came back as skill in that very block."""
    cold = train(small_bars(), STUBBORN)
    second = cold.folds[1].test_from
    taught = pytest.approx(small_training().candidate.slopes(), abs=1e-6)  # type: ignore[union-attr]
    for known, warm_folds in (
        (small_bars().timestamp.max(), 0),
        (second, len(cold.folds) - 2),
        (second - np.timedelta64(1, "us"), len(cold.folds) - 1),
        (NEVER, len(cold.folds)),
    ):
        found = warm(parent(known))
        starts_cold = len(cold.folds) - warm_folds
        assert [slopes(one.model) == taught for one in found.folds] == [False] * starts_cold + [True] * warm_folds
        for one, other in zip(found.folds[:starts_cold], cold.folds[:starts_cold], strict=True):
            assert np.array_equal(slopes(one.model), slopes(other.model))  # type: ignore[arg-type]
        # The candidate itself is judged by nothing that is known yet.
        assert slopes(found.candidate) == taught
        assert found.warmth is not None
        assert (found.warmth.warm_folds, found.warmth.cold_folds) == (warm_folds, starts_cold)


def test_each_fold_starts_from_the_newest_weights_that_had_not_seen_its_test() -> None:
    """The gates judged the experiment from cold while what was served was warm: nobody had judged that."""
    left = parent_of(small_training(), small_experiment(), name="c0", sha256="0" * 64)
    found = warm(left)
    assert found.warmth is not None
    assert (found.warmth.warm_folds, found.warmth.cold_folds) == (len(found.folds), 0)
    for one, parents in zip(found.folds, small_training().folds, strict=True):
        # The same windows: the parent's fold of the same number is the newest that ends before this test.
        assert one.start is not None
        assert one.start.fold == one.split.number
        assert one.start.known_to < one.test_from
        assert slopes(one.model) == pytest.approx(slopes(parents.model), abs=1e-6)
        assert one.known_to < one.test_from
    assert slopes(found.candidate) == pytest.approx(slopes(left.model), abs=1e-6)


def test_weights_of_a_parent_that_was_taught_a_test_are_not_used_in_it() -> None:
    """A parent whose training window was named wrongly made every fold look like skill."""
    left = parent_of(small_training(), small_experiment(), name="c0", sha256="0" * 64)
    cold = train(small_bars(), STUBBORN)
    second = cold.folds[1]
    leaked = Checkpoint(1, left.folds[1].model, second.test_from)
    found = warm(replace(left, folds=(left.folds[0], leaked, *left.folds[2:])))
    # The next older one is used instead; and where there is none, none.
    assert found.folds[1].start is not None
    assert found.folds[1].start.fold == 0
    alone = warm(replace(left, folds=(leaked,)))
    assert [one.start is None for one in alone.folds][:3] == [True, True, False]
    assert np.array_equal(slopes(alone.folds[1].model), slopes(second.model))  # type: ignore[arg-type]


def test_bars_that_come_later_change_no_prediction_over_three_generations() -> None:
    """Weights carry what they were taught: a grandparent's look at the future would be everybody's skill."""

    def grandchild(bars: Bars) -> Training:
        asked, found = small_experiment(), train(bars, small_experiment())
        for name in ("one", "two"):
            found = train(bars, asked, start=parent_of(found, asked, name=name, sha256="0" * 64))
        return found

    bars = small_bars()
    full = grandchild(bars)
    until = full.folds[-3].test_to
    known = bars.timestamp <= until + np.timedelta64(7, "D")
    part = grandchild(_some(bars, known))
    judged = [
        {
            (rows.symbols[code], moment): score
            for code, moment, score in zip(rows.codes, rows.window_end, rows.score, strict=True)
            if moment < until
        }
        for rows in (full.predictions, part.predictions)
    ]
    assert len(judged[1]) > 200
    assert judged[0].keys() == judged[1].keys()
    assert [judged[0][key] for key in judged[1]] == list(judged[1].values())
    assert full.warmth is not None
    assert full.warmth.cold_folds == 0


def _some(bars: Bars, rows: Flags) -> Bars:
    """The bars of these rows."""
    counts = [int(rows[one].sum()) for _, one in bars.slices()]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    columns = {name: getattr(bars, name)[rows] for name in ("timestamp", *NUMBERS)}
    return replace(bars, starts=starts, extras={name: one[rows] for name, one in bars.extras.items()}, **columns)


def test_an_embargo_keeps_the_parent_away_as_well() -> None:
    """Bars next to a test are alike, whoever learnt from them."""
    asked = small_experiment(model={"kind": "ridge"}, walk_forward={"train": 150, "test": 40, "embargo": 5})
    first = train(small_bars(), asked).folds[0].test_from
    calendar = np.unique(small_bars().timestamp)
    place = int(np.searchsorted(calendar, first))
    folds = [warm(parent(calendar[place - back]), asked).warmth for back in (5, 6)]
    assert folds[0] is not None
    assert folds[1] is not None
    assert (folds[0].cold_folds, folds[1].cold_folds) == (1, 0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": {"kind": "boosting", "iterations": 2}}, "only a ridge"),
        ({"target": {"horizon": 2}}, "another target"),
        ({"data": {"features": list(small_training().candidate.features[:3])}}, "other features"),
    ],
)
def test_weights_that_do_not_fit_are_not_used_and_that_is_said(changes: dict[str, object], why: str) -> None:
    """A boosting that silently began anew was taken for a continued champion."""
    asked = small_experiment(**changes)
    found, cold = warm(parent(NEVER), asked), train(small_bars(), asked)
    assert found.warmth is not None
    assert why in (found.warmth.why_cold or "")
    assert why in found.warmth.sentence
    assert found.warmth.as_document()["weights"] is False
    assert (found.warmth.warm_folds, found.warmth.cold_folds) == (0, len(found.folds))
    assert np.array_equal(found.predictions.score, cold.predictions.score)


def test_what_a_grandparent_saw_is_known_as_well() -> None:
    """Weights carry what they were taught through every branch."""
    own = {"data": {"last": "2020-01-31T00:00:00Z"}}
    # To the end of the second that is written down: a manifest drops what lies behind the point.
    before, after = (np.datetime64(f"{year}-01-31T00:00:00.999999") for year in (2020, 2021))
    assert known_to(own) == before
    later = {"known_to": "2021-01-31T00:00:00Z"}
    assert known_to({**own, "warm_start": {"weights": True, **later}}) == after
    assert known_to({**own, "warm_start": {"weights": False, **later}}) == before
    assert known_to({**own, "warm_start": None}) == before
    folds = [{"number": 0}, {"number": 1, **later}]
    assert folds_known_to({"folds": folds}) == {1: after}


def test_a_branch_changes_the_keys_it_names_and_no_others() -> None:
    """A branch that fell back to defaults elsewhere compared two differences at once."""
    base = small_experiment(
        name="base", model={"kind": "boosting", "leaves": 7}, guardrails={"sector_caps": {"a": 0.1}}
    )
    assert branch(base, {}) == base
    found = branch(base, {"seed": 9, "model": {"iterations": 3}, "walk_forward": {"test": 50}})
    assert (found.name, found.seed, found.walk_forward.train, found.walk_forward.test) == ("base", 9, 150, 50)
    assert found.model.model_dump() == {**base.model.model_dump(), "iterations": 3}
    assert branch(base, {"model": {"kind": "ridge"}}).model == small_experiment().model
    assert branch(base, {"guardrails": {"sector_caps": {"b": 0.2}}}).guardrails.sector_caps == {"b": 0.2}
    for wrong in ({"alhpa": 1}, {"model": {"alpha": 1.0}}, {"model": 3}, {"walk_forward": None}):
        with pytest.raises(BadInput, match=r"b\.yaml cannot be used"):
            branch(base, wrong, "b.yaml")
