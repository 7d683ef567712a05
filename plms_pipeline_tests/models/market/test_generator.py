from __future__ import annotations

import numpy as np
import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.market.bars import content_hash
from plms_pipeline.models.market.generator import Fault, World, generate
from plms_pipeline_tests.models.worlds import market


def test_the_same_seed_gives_the_same_market() -> None:
    """A proof over forty seeds that cannot be repeated proves nothing."""
    world = World(symbols=2, bars=50)
    assert content_hash(generate(world, 3).bars()) == content_hash(generate(world, 3).bars())
    assert content_hash(generate(world, 3).bars()) != content_hash(generate(world, 4).bars())


def test_without_signal_neither_drift_nor_alt_tell_anything_of_the_future() -> None:
    """The null world is what the gates must block; a leak in it would excuse every bad gate."""
    quiet = market(symbols=4, bars=3_000, snr=0.0)
    returns = np.diff(np.log(quiet.raw.numbers["close"].reshape(4, -1)), axis=1)
    for told in (quiet.drift[:, :-1], quiet.raw.extras["alt"].reshape(4, -1)[:, :-1]):
        assert abs(np.corrcoef(told.ravel(), returns.ravel())[0, 1]) < 0.03


def test_the_drift_tells_of_the_next_bar_as_much_as_was_asked_for() -> None:
    """The knob says how much there is to be learnt; nobody can learn more than its truth."""
    loud = market(symbols=4, bars=3_000)
    returns = np.diff(np.log(loud.raw.numbers["close"].reshape(4, -1)), axis=1)
    assert np.corrcoef(loud.drift[:, :-1].ravel(), returns.ravel())[0, 1] == pytest.approx(0.2, abs=0.05)


def test_volatility_clusters_and_volume_answers_to_moves() -> None:
    """Independent normal returns would let a risk model pass that fails in its first real week."""
    made = market(symbols=4, bars=3_000)
    moves = np.abs(np.diff(np.log(made.raw.numbers["close"].reshape(4, -1)), axis=1))
    volume = np.log(made.raw.numbers["volume"].reshape(4, -1)[:, 1:])
    for one, traded in zip(moves, volume, strict=True):
        assert np.corrcoef(one[:-1], one[1:])[0, 1] > 0.05
        assert np.corrcoef(one, traded)[0, 1] > 0.5


def test_symbols_move_together_through_the_market() -> None:
    """A book of twenty independent symbols has a risk that no market offers."""
    made = market(symbols=4, bars=3_000)
    returns = np.diff(np.log(made.raw.numbers["close"].reshape(4, -1)), axis=1)
    assert np.corrcoef(returns)[np.triu_indices(4, 1)].min() > 0.1


def test_the_benchmark_is_the_mean_of_the_symbols() -> None:
    """Alpha is measured against it."""
    made = market()
    simple = (
        np.diff(made.raw.numbers["close"].reshape(3, -1), axis=1) / made.raw.numbers["close"].reshape(3, -1)[:, :-1]
    )
    assert made.benchmark[1:] == pytest.approx(simple.mean(axis=0), abs=1e-12)
    assert made.benchmark[0] == 0.0


@pytest.mark.parametrize(("kind", "size"), [("shift", 1.0), ("variance_jump", 4.0)])
def test_faults_of_the_market_begin_where_they_were_planted(kind: str, size: float) -> None:
    """Drift monitors are proved on them."""
    world = World(symbols=2, bars=1_000, faults=(Fault(kind, at=0.5, size=size, symbol="SIM000"),))  # type: ignore[arg-type]
    returns = np.diff(np.log(generate(world, 1).raw.numbers["close"].reshape(2, -1)), axis=1) / world.volatility
    before, after = returns[:, :499], returns[:, 500:]
    if kind == "shift":
        assert (after.mean(axis=1) - before.mean(axis=1))[0] == pytest.approx(1.0, abs=0.25)
    else:
        assert (after.std(axis=1) / before.std(axis=1))[0] > 2.5
    assert (after.std(axis=1) / before.std(axis=1))[1] < 2.0


def test_intraday_bars_follow_a_clock_and_daily_bars_skip_weekends() -> None:
    """Gap checks learn the rhythm from these calendars."""
    daily = generate(World(symbols=1, bars=10), 1).calendar
    assert np.is_busday(daily.astype("datetime64[D]")).all()
    quarter = generate(World(symbols=1, bars=10, bar_minutes=15), 1).calendar
    assert set(np.diff(quarter).astype(int)) == {15 * 60 * 1_000_000}


@pytest.mark.parametrize(
    "world",
    [World(symbols=0), World(bars=1), World(faults=(Fault("gap", symbol="X"),)), World(faults=(Fault("gap", at=1.0),))],
)
def test_an_impossible_world_is_refused(world: World) -> None:
    """A fault planted in a symbol that does not exist would make its test pass for nothing."""
    with pytest.raises(BadInput):
        generate(world, 1)


def test_the_drift_moves_the_bar_after_it_and_not_its_own() -> None:
    """If it moved its own bar, whoever learnt it would have seen the future, and the planted world would be a cheat."""
    loud = market(symbols=4, bars=3_000)
    returns = np.diff(np.log(loud.raw.numbers["close"].reshape(4, -1)), axis=1)
    news = loud.drift[:, 1:] - 0.97 * loud.drift[:, :-1]
    assert abs(np.corrcoef(news.ravel(), returns.ravel())[0, 1]) < 0.025
    assert np.corrcoef(news[:, :-1].ravel(), returns[:, 1:].ravel())[0, 1] > 0.025
