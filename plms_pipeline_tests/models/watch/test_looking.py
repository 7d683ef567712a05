"""Is a champion watched on what came after its training, honestly, and does the right thing follow?"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy

from plms_pipeline.cli import main
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import Conflict, NoData
from plms_pipeline.models.actions.monitoring import Files, compare, look
from plms_pipeline.models.dataset import files as dataset
from plms_pipeline.models.dataset.revising import merged
from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
from plms_pipeline.models.market.bars import NUMBERS, Bars, RawBars, canonical, select
from plms_pipeline.models.records import MARKET
from plms_pipeline.models.store import looks
from plms_pipeline.models.training.costs import portfolio
from plms_pipeline.models.training.history import Look as Seen
from plms_pipeline.models.training.scoring import score
from plms_pipeline.models.watch.judging import Rules, judged
from plms_pipeline.models.watch.returns import live_returns, trained_of
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import LiveSnapshot
from plms_pipeline_tests.models.candidates import House, house
from plms_pipeline_tests.models.worlds import market, small_bars, small_experiment, small_training

LONGER = 300


@cache
def continued(calm: float = 1.0, count: int = LONGER) -> Bars:
    """The small market and some time after it; returns of the later part times 1 / `calm`."""
    before, after = small_bars(), market(3, 400, 0.2, 8).bars()
    step = before.timestamp[1] - before.timestamp[0]
    raw, numbers = after.raw(), {}
    keep = np.concatenate([np.arange(rows.start, rows.start + count) for _, rows in after.slices()])
    first = np.repeat([after.close[rows.start] for _, rows in after.slices()], count)
    last = np.repeat([before.close[rows.stop - 1] for _, rows in before.slices()], count)
    for name in NUMBERS:
        values = raw.numbers[name][keep]
        numbers[name] = values if name == "volume" else last * (values / first) ** (1.0 / calm)
    end = before.timestamp.max()
    times = end + step * (1 + np.tile(np.arange(count), len(after.symbols)))
    extras = {name: values[keep] for name, values in raw.extras.items()}
    return merged(before, canonical(RawBars(times, raw.symbol[keep], numbers, extras))).bars


def publish(made: House, bars: Bars) -> FrozenClock:
    """Make bars the dataset; a clock shortly after the last of them."""
    dataset.publish(made.root, bars, {}, merged(None, bars).revised, name="test")
    return FrozenClock(bars.timestamp.max().item().replace(tzinfo=UTC) + timedelta(hours=1))


@pytest.fixture
def watched(sqlite_registry: Registry, tmp_path: Path) -> House:
    made = house(sqlite_registry, tmp_path)
    made.champion("c1")
    return made


def rows_of(made: House) -> list[Seen]:
    with made.registry.reading() as session:
        return looks.newest(session, MARKET)


def test_what_came_after_the_training_is_what_was_judged_with_the_same_arithmetic() -> None:
    """A monitor that computes otherwise than serving and evaluation watches something else."""
    bars, trained = continued(), small_training()
    asked = small_experiment()
    until = trained_of(
        {"data": {"symbols": list(bars.symbols)}, "candidate": {"trained_to": str(trained.trained_to)}}, "x"
    )
    live = live_returns(bars, trained.candidate, asked, until)
    scored = score(trained.candidate, bars, k=asked.trading.k, last=None)
    expected = []
    for name in bars.symbols:
        rows = dict(bars.slices())[name]
        close, times = bars.close[rows], bars.timestamp[rows]
        held_before = 0.0
        for place in np.flatnonzero((np.array(scored.symbols) == name) & (scored.window_end > until.until)):
            now = int(np.searchsorted(times, scored.window_end[place]))
            if now + 1 < close.size:
                held = scored.position[place]
                earned = held * (close[now + 1] / close[now] - 1) - asked.costs.per_trade * abs(held - held_before)
                expected.append((times[now], earned))
                held_before = held
    moments, values = portfolio(np.array([one[0] for one in expected]), np.array([one[1] for one in expected]))
    assert live.moments.tolist() == moments.tolist()
    assert live.values == pytest.approx(values, abs=1e-12)
    assert live.moments[0] > trained.trained_to


def test_a_champion_that_behaves_is_kept(watched: House) -> None:
    """An alarm on a quiet day is the first step to a monitor that nobody reads."""
    found = look(watched.registry, data_dir=watched.root, clock=publish(watched, continued()))
    assert (found.action, found.codes, found.document["judged"]) == ("keep", (), True)
    assert found.rows == 3 * LONGER
    assert found.path is not None
    kept = json.loads((watched.root / found.path).read_text())
    assert kept["candidate_id"] == "c1"
    assert kept["alerts"] == []
    (row,) = rows_of(watched)
    assert (row.number, row.action) == (found.number, "keep")
    assert row.promotion_id == kept["promotion_id"]


def test_a_market_that_changed_asks_for_a_retraining(watched: House) -> None:
    """Drift that nobody acts upon is found by the losses."""
    found = look(watched.registry, data_dir=watched.root, clock=publish(watched, continued(0.2)))
    assert found.action == "request_retrain"
    assert {"psi_above_limit", "ks_above_limit"} <= set(found.codes)
    assert [one.action for one in rows_of(watched)] == ["request_retrain"]


def test_a_feed_that_stopped_halts_whatever_the_figures_say(watched: House) -> None:
    """Figures of a broken feed are no reason to retrain on it."""
    clock = publish(watched, continued(0.2))
    late = FrozenClock(clock.at + timedelta(days=400))
    found = look(watched.registry, data_dir=watched.root, clock=late)
    assert found.action == "halt"
    assert "feed_is_stale" in found.codes


def test_a_symbol_that_no_longer_comes_is_told(watched: House) -> None:
    """The mean over the symbols that are left looks like a portfolio."""
    bars = continued()
    name = bars.symbols[0]
    rest = merged(select(bars, [name], until=small_bars().timestamp.max()), select(bars, bars.symbols[1:])).bars
    found = look(watched.registry, data_dir=watched.root, clock=publish(watched, rest))
    assert (found.action, found.codes) == ("halt", ("feed_is_stale",))
    assert name in found.document["alerts"][0]["message"]


def test_too_few_returns_are_not_judged(watched: House) -> None:
    """Five wild days are no drift; and a dataset that was only imported once is no feed that broke."""
    few = look(watched.registry, data_dir=watched.root, clock=publish(watched, continued(0.5, 20)))
    assert (few.action, few.document["judged"], few.rows) == ("keep", False, 60)
    none = look(watched.registry, data_dir=watched.root, clock=publish(watched, small_bars()))
    assert (none.action, none.rows, none.document["window_from"]) == ("keep", 0, None)


def test_a_dry_look_records_nothing(watched: House) -> None:
    """Whoever tries limits must not ask for retrainings with them."""
    strict = Rules(risk=OperationsThresholds(min_sharpe=1e6))
    found = look(
        watched.registry, data_dir=watched.root, clock=publish(watched, continued()), rules=strict, own_limits=False,
        is_dry=True,
    )  # fmt: skip
    assert (found.codes, found.number, found.path) == (("sharpe_below_minimum",), None, None)
    assert rows_of(watched) == []
    assert not list(watched.root.rglob("monitoring_snapshot.json"))


def test_the_champion_is_held_to_the_limits_by_which_it_was_judged(sqlite_registry: Registry, tmp_path: Path) -> None:
    """Limits that its training was told by flags, and that were signed with its summary, were forgotten when it served."""
    made = house(sqlite_registry, tmp_path)
    thresholds = OperationsThresholds(min_sharpe=1e6, max_drawdown=0.5).as_document()
    made.candidate("c1", summary={"thresholds": thresholds})
    made.decide("c1", "approve")
    made.promote("c1")
    clock = publish(made, continued())
    found = look(made.registry, data_dir=made.root, clock=clock)
    assert (found.action, found.codes) == ("request_retrain", ("sharpe_below_minimum",))
    in_force = {"sharpe": 1e6, "max_drawdown": -0.5, "value_at_risk": None}
    assert found.document["limits"]["risk"] == in_force
    drift = {"population_stability_index": 0.2, "js_divergence": 0.05, "ks_statistic": 0.15}
    assert found.document["limits"]["drift"] == drift
    with made.registry.reading() as session:
        kept = session.scalars(sqlalchemy.select(LiveSnapshot.metrics_json)).one()
    assert kept["limits"] == {"risk": in_force, "drift": drift}
    summary = next(made.root.rglob("operations_summary.json"))
    summary.write_text(summary.read_text().replace("1000000.0", "-1000000.0"))
    with pytest.raises(Conflict) as refused:
        look(made.registry, data_dir=made.root, clock=clock)
    assert refused.value.code == "summary_altered"


def test_a_run_that_was_replaced_as_a_whole_is_not_watched(watched: House) -> None:
    """A folder whose manifest vouches for its own files is still not the one that was approved."""
    clock = publish(watched, continued())
    manifest = next(watched.root.rglob("manifest.json"))
    manifest.write_text(manifest.read_text().replace('"weekly"', '"wEEkly"'))
    with pytest.raises(Conflict) as refused:
        look(watched.registry, data_dir=watched.root, clock=clock)
    assert refused.value.code == "run_altered"


def test_an_altered_champion_is_not_watched(watched: House) -> None:
    """Figures of other bytes than those that serve would quiet everybody."""
    clock = publish(watched, continued())
    with (next(watched.root.rglob("predictions.parquet"))).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(Conflict):
        look(watched.registry, data_dir=watched.root, clock=clock)


def test_without_a_champion_there_is_nothing_to_watch(sqlite_registry: Registry, tmp_path: Path) -> None:
    """No data is never to be read as success."""
    with pytest.raises(NoData) as told:
        look(sqlite_registry, data_dir=tmp_path, clock=FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)))
    assert told.value.code == "no_champion"


def test_the_sign_of_a_figure_is_kept() -> None:
    """The source exported a Sharpe ratio of -1.2 as 1.2."""
    generator = np.random.default_rng(3)
    reference = generator.normal(0.001, 0.01, 2_000)
    found = judged(reference, -np.abs(reference[:300]), Rules(risk=OperationsThresholds(min_sharpe=0.0)))
    assert found.document["risk"]["sharpe"] < 0
    assert "sharpe_below_minimum" in found.codes


def test_the_same_law_seldom_alarms() -> None:
    """With the source's twenty cells, a hundred returns of the very same law broke its own limit half of the time."""
    generator = np.random.default_rng(4)
    alarms = 0
    for _ in range(100):
        alarms += bool(judged(generator.normal(0, 0.01, 3_000), generator.normal(0, 0.01, 120), Rules()).codes)
    assert alarms <= 5


def test_files_are_compared_with_what_their_run_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The flags of the source; its limits on live risk were thrown away as soon as a summary was found."""
    generator = np.random.default_rng(5)
    for name, spread in (("reference", 0.01), ("predictions", 0.05)):
        pd.DataFrame({"realised_return": generator.normal(0, spread, 400)}).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    summary = tmp_path / "operations_summary.json"
    summary.write_text(
        '{"triggered": ["Sharpe"], "alerts": [{"code": "turnover_above_limit"}], "guardrails": {"turnover_rate": 3}}'
    )
    given = Files(tmp_path / "reference.csv", tmp_path / "predictions.csv", summary)
    found = compare(given, Rules(risk=OperationsThresholds(max_drawdown=0.01)))
    assert {"psi_above_limit", "drawdown_above_limit", "turnover_above_limit"} <= set(found.codes)
    assert found.document["guardrails"] == {"turnover_rate": 3}
    asked = ["monitor", str(tmp_path / "reference.csv"), "--evaluation-dir", str(tmp_path), "--json"]
    named = ["--evaluation-predictions-name", "predictions.csv", "--output", str(tmp_path / "out.json")]
    assert main([*asked, *named]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["window_count"] == 400
    assert json.loads((tmp_path / "out.json").read_text())["drift"] == told["drift"]
    assert main(["monitor", str(tmp_path / "reference.csv"), str(tmp_path / "reference.csv")]) == 0
    assert main(["monitor", str(tmp_path / "reference.csv")]) == 2
