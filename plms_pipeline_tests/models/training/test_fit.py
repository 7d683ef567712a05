from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.market.bars import canonical
from plms_pipeline.models.training.experiment import Experiment, experiment
from plms_pipeline.models.training.fit import matrix, train
from plms_pipeline.models.training.linear import LinearModel
from plms_pipeline.models.training.predictions import (
    COLUMNS,
    information_coefficient,
    rank_information_coefficient,
    skill,
)
from plms_pipeline_tests.models.worlds import market, small_bars, small_experiment, small_training


def test_every_prediction_was_made_by_a_model_that_had_not_seen_it() -> None:
    """The source judged on the whole dataset, training rows included."""
    trained = small_training()
    times = trained.predictions.window_end
    for fold in trained.folds:
        mine = trained.predictions.split == fold.split.number
        assert fold.train_to < fold.test_from
        assert (times[mine] >= fold.test_from).all()
        assert (times[mine] <= fold.test_to).all()
        assert int(mine.sum()) == fold.test_rows
    assert len({fold.split.number for fold in trained.folds}) == 4


def test_changing_what_follows_changes_no_earlier_prediction() -> None:
    """The whole chain from prices to predictions must be blind to the future, not only its features."""
    bars = small_bars()
    trained = small_training()
    last = trained.folds[-1].test_from
    later = bars.timestamp > last
    prices = {
        name: np.where(later, getattr(bars, name) * 3.0, getattr(bars, name))
        for name in ("open", "high", "low", "close")
    }
    other = train(replace(bars, **prices), small_experiment()).predictions
    before = trained.predictions.window_end <= last
    assert np.array_equal(trained.predictions.score[before], other.score[other.window_end <= last])


def test_a_hole_in_the_history_does_not_leak_through_the_purge() -> None:
    """With bars missing the next bar lies beyond the purge: its return would be learnt before it is judged."""
    bars = small_bars()
    trained = small_training()
    first = trained.folds[0]
    hole = (bars.codes == 0) & (bars.timestamp >= first.train_to - np.timedelta64(3, "D"))
    hole &= bars.timestamp <= first.test_from + np.timedelta64(10, "D")
    holed = canonical(bars.raw().take(~hole))
    rows = matrix(holed, small_experiment())
    fold = train(holed, small_experiment()).folds[0]
    stretched = rows.teachable & (holed.timestamp <= fold.train_to) & (rows.known_at >= fold.test_from)
    assert stretched.sum() == 1
    inside = rows.teachable & (holed.timestamp >= fold.train_from) & (holed.timestamp <= fold.train_to)
    assert fold.train_rows == inside.sum() - 1


def test_the_frame_has_the_columns_of_the_source_and_its_order() -> None:
    """Tools that were written for the source's predictions must read ours."""
    frame = small_training().predictions.frame()
    assert tuple(frame.columns) == COLUMNS
    assert frame.sort_values(["symbol", "window_end"], kind="stable").index.tolist() == list(range(len(frame)))
    assert (frame["target_timestamp_1"] > frame["window_end"]).all()
    assert frame["realised_return"].notna().all()
    assert str(frame["window_end"].dt.tz) == "UTC"


def test_returns_add_up_from_positions_and_prices() -> None:
    """What the risk lead signs is position times return less costs, and can be recomputed from the frame."""
    frame = small_training().predictions.frame()
    expected = frame["position"] * frame["next_return"] - 2e-4 * frame["turnover"]
    assert frame["realised_return"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-15)
    bars = small_bars()
    row = frame.iloc[10]
    place = int(np.flatnonzero(bars.timestamp[:400] == row["window_end"].tz_localize(None).to_datetime64())[0])
    assert row["symbol"] == bars.symbols[0]
    assert row["next_return"] == pytest.approx(bars.close[place + 1] / bars.close[place] - 1)
    assert row["start_index"] == place - 99
    assert np.abs(frame["position"]).max() <= 1.0


def test_the_same_experiment_gives_the_same_candidate() -> None:
    """Golden verification before a promotion repeats the training and compares."""
    again = train(small_bars(), small_experiment())
    first = small_training()
    assert isinstance(again.candidate, LinearModel)
    assert isinstance(first.candidate, LinearModel)
    assert np.array_equal(again.candidate.coefficients, first.candidate.coefficients)
    assert np.array_equal(again.predictions.realised_return, first.predictions.realised_return)


def test_the_candidate_is_trained_up_to_the_newest_known_return() -> None:
    """A candidate that stops where the last test began serves with year-old knowledge."""
    trained, bars = small_training(), small_bars()
    assert trained.trained_to == bars.calendar()[-2]


@pytest.mark.live
def test_a_planted_signal_is_found_and_noise_is_not() -> None:
    """The gates can only tell the two apart if the training does: coefficient about 0.1 at 0.2, about 0 at 0."""
    found = [train(market(4, 4_000, snr).bars(), Experiment()).metrics["information_coefficient"] for snr in (0.2, 0.0)]
    assert found[0] is not None
    assert found[1] is not None
    assert 0.08 < found[0] < 0.15
    assert abs(found[1]) < 0.025


def test_costs_and_positions_follow_the_experiment() -> None:
    """What-if analysis of costs starts here."""
    dear = train(small_bars(), small_experiment(trading={"transaction": 0.01, "k": 5.0})).predictions
    cheap = small_training().predictions
    assert np.array_equal(dear.position, cheap.position)
    assert dear.realised_return == pytest.approx(cheap.realised_return - (0.01 - 1e-4) * cheap.turnover)


def test_a_longer_horizon_purges_more_and_knows_later() -> None:
    """Overlapping targets are the leak that a purge of one bar does not stop."""
    trained = train(small_bars(), small_experiment(target={"horizon": 5}))
    rows = trained.predictions
    assert trained.folds[0].split.test_first - trained.folds[0].split.train_end == 5
    bars = small_bars()
    place = int(np.flatnonzero(bars.timestamp[:400] == rows.window_end[0])[0])
    assert rows.target_at[0] == bars.timestamp[place + 5]


def test_weights_decide_what_teaches() -> None:
    """Rejected trades weigh less in the next training, as configured."""
    bars = small_bars()
    weights = np.where(bars.codes == 0, 0.0, 1.0)
    only = train(bars, small_experiment(), weights=weights)
    without = train(bars, small_experiment())
    assert only.folds[0].model.predict(np.ones((1, 14))) != pytest.approx(
        without.folds[0].model.predict(np.ones((1, 14)))
    )
    with pytest.raises(BadInput, match="as many weights"):
        train(bars, small_experiment(), weights=np.ones(3))


@pytest.mark.live
def test_the_challenger_trains_and_is_judged_alike() -> None:
    """A challenger that is judged by other rules cannot be compared."""
    asked = small_experiment(model={"kind": "boosting", "iterations": 5})
    challenger = train(small_bars(), asked)
    assert challenger.candidate.kind == "boosting"
    assert np.array_equal(challenger.predictions.window_end, small_training().predictions.window_end)


def test_too_little_history_is_no_data() -> None:
    """A night without enough prices must end in a sentence, not in a candidate."""
    with pytest.raises(NoData, match="one walk-forward split needs more than"):
        train(small_bars(), experiment({}))
    with pytest.raises(BadInput, match="no bars of ZZZ"):
        train(small_bars(), small_experiment(data={"symbols": ["ZZZ"]}))


def test_a_constant_prediction_has_no_coefficient() -> None:
    """A correlation of nothing is unknown, not zero and not NaN."""
    assert information_coefficient(np.ones(10), np.arange(10.0)) is None
    assert information_coefficient(np.arange(2.0), np.arange(2.0)) is None
    assert information_coefficient(np.arange(10.0), np.arange(10.0)) == pytest.approx(1.0)


def test_one_impossible_return_does_not_make_the_model() -> None:
    """A single bar of forty deviations would otherwise outweigh a year of ordinary ones."""
    bars = small_bars()
    close = bars.close.copy()
    close[200:400] *= 3.0
    jumped = replace(bars, close=close)
    clipped = train(jumped, small_experiment()).folds[0].model
    trusting = train(jumped, small_experiment(target={"clip": 1e9})).folds[0].model
    values = np.ones((1, 14))
    plain = small_training().folds[0].model.predict(values)[0]
    assert abs(clipped.predict(values)[0] - plain) < abs(trusting.predict(values)[0] - plain)


def test_the_candidate_learns_from_as_much_as_each_fold_did() -> None:
    """A candidate that is trained on another window than its kind was judged on is another model."""
    trained, calendar = small_training(), small_bars().calendar()
    assert trained.trained_from == calendar[-150]
    expanding = train(small_bars(), small_experiment(walk_forward={"train": 150, "test": 40, "expanding": True}))
    assert expanding.trained_from == calendar[100]
    assert [fold.train_from for fold in expanding.folds] == [calendar[100]] * 4


def test_skill_is_counted_by_hand() -> None:
    """The hit ratio counts rows whose sign was right, of those that moved and of which something was said."""
    rows = small_training().predictions
    few = replace(
        rows,
        codes=rows.codes[:6],
        score=np.array([1.0, -1.0, 1.0, -2.0, 0.0, 1.0]),
        actual=np.array([1.0, -1.0, -1.0, -1.0, 1.0, 0.0]),
        position=np.array([0.5, -0.5, 0.5, -1.0, 0.0, 0.5]),
        turnover=np.ones(6),
        next_return=np.full(6, 0.1),
        realised_return=np.full(6, 0.01),
    )
    found = skill(few)
    assert found["rows"] == 6
    assert found["direction_hit_ratio"] == 0.75
    assert found["mean_absolute_position"] == 0.5
    assert found["mean_turnover"] == 1.0
    assert found["mean_realised_return"] == pytest.approx(0.01)
    assert found["mean_realised_return_before_costs"] == pytest.approx(0.0, abs=1e-12)
    assert found["rank_information_coefficient"] == rank_information_coefficient(few.score, few.actual)


def test_a_symbol_that_cannot_be_judged_is_named() -> None:
    """A universe of twenty of which eleven silently fell out is another universe."""
    bars = small_bars()
    unknown = np.where(bars.codes == 1, np.nan, bars.extras["alt"])
    trained = train(replace(bars, extras={"alt": unknown}), small_experiment())
    assert trained.left_out == (bars.symbols[1],)
    assert trained.metrics["symbols"] == 2
    assert small_training().left_out == ()


@pytest.mark.live
@pytest.mark.parametrize("seed", range(8))
def test_a_ragged_market_leaks_nothing_either(seed: int) -> None:
    """Real panels have holes, young symbols and halts: the rules must hold there, not only on a full grid."""
    rng = np.random.default_rng(seed)
    made = market(3, 400).raw
    keep = rng.random(made.count) > rng.choice([0.02, 0.3])
    keep &= ~((made.symbol == "SIM001") & (np.arange(made.count) % 400 < rng.integers(0, 200)))
    bars = canonical(made.take(keep))
    asked = small_experiment(target={"horizon": int(rng.integers(1, 6))}, walk_forward={"train": 80, "test": 30})
    trained = train(bars, asked)
    rows = matrix(bars, asked)
    for fold in trained.folds:
        taught = rows.teachable & (bars.timestamp >= fold.train_from) & (bars.timestamp <= fold.train_to)
        assert fold.train_rows == (taught & (rows.known_at < fold.test_from)).sum()
    cut = trained.folds[-1].test_from
    noise = np.where(bars.timestamp > cut, rng.uniform(0.5, 2.0, bars.count), 1.0)
    other = train(replace(bars, **{name: values * noise for name, values in bars.numbers().items()}), asked)
    before, again = trained.predictions.window_end <= cut, other.predictions.window_end <= cut
    assert np.array_equal(trained.predictions.score[before], other.predictions.score[again])
    frame = trained.predictions.frame()
    assert not frame.duplicated(["symbol", "window_end"]).any()
    assert frame.notna().all(axis=None)
