"""Is what comes out of a training honest, whole, and the same for the same data?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import PlmsError, VerdictNo
from plms_pipeline.models.actions.retraining import Request, Retrained, dataset, judged, retrain
from plms_pipeline.models.evaluation.gates import GateConfig
from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
from plms_pipeline.models.market.checks import examine
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.market.generator import World, generate
from plms_pipeline.models.reporting.blocks import number
from plms_pipeline.models.training.experiment import experiment
from plms_pipeline.models.training.fit import train

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "sp500_daily.csv.gz"
CLOCK = FrozenClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
QUICK = GateConfig(resamples=500)


def trained(root: Path, file: Path = SAMPLE, **more: object) -> Retrained:
    more = {"has_report": False, **more}
    asked = Request(file, experiment({}), gates=QUICK, **more)  # type: ignore[arg-type]
    return retrain(asked, root=root, clock=CLOCK, run_id="r1", code_version="0")


def market(folder: Path, signal: float, seed: int = 1) -> Path:
    write_prices(folder / "market.csv", generate(World(bars=3_000, signal_to_noise=signal), seed).raw)
    return folder / "market.csv"


def test_the_shipped_index_is_told_honestly(tmp_path: Path) -> None:
    """Prices that were taken for returns once gave it a hit rate of one and no drawdown at all."""
    done = trained(tmp_path, thresholds=OperationsThresholds(min_sharpe=1.0))
    assert not done.verdict.passed
    blocking = {gate.name for gate in done.verdict.blocking}
    assert {"sharpe_after_costs_is_more_than_noise", "limit:sharpe_below_minimum"} <= blocking
    assert -0.5 < done.summary["risk"]["max_drawdown"] < -0.05
    assert 0.45 < done.metrics["direction_hit_ratio"] < 0.55


def test_everything_lies_in_one_folder_in_valid_json(tmp_path: Path) -> None:
    """A summary with a bare NaN was read by nobody."""
    done = trained(tmp_path)
    assert done.run.path == tmp_path / "automation_runs" / "20260301-120000"
    for name in ("operations_summary", "metrics", "gates"):
        text = (done.run.path / "evaluation" / f"{name}.json").read_text()
        json.loads(text, parse_constant=pytest.fail)
    assert json.loads((done.run.path / "evaluation" / "gates.json").read_text()) == done.verdict.as_document()
    assert (tmp_path / "market_snapshots" / f"{done.data.digest}.parquet").is_file()


def test_the_same_data_give_the_same_model(tmp_path: Path) -> None:
    """A candidate that cannot be made again cannot be examined either."""
    first, second = trained(tmp_path / "a"), trained(tmp_path / "b")
    assert first.run.model_sha256 == second.run.model_sha256
    assert first.summary == second.summary


def test_a_signal_that_was_planted_is_found(tmp_path: Path) -> None:
    """Gates that block everything are as useless as gates that block nothing."""
    done = trained(tmp_path, market(tmp_path, 0.3))
    assert done.verdict.passed, [gate.reason for gate in done.verdict.blocking]
    assert done.metrics["information_coefficient"] > 0.09


@pytest.mark.live
def test_worlds_without_a_signal_are_blocked_and_worlds_with_one_pass() -> None:
    """Whoever retrains every week would otherwise promote noise twice a year."""
    passed = {0.0: 0, 0.3: 0}
    for signal in passed:
        for seed in range(8):
            bars = examine(generate(World(bars=3_000, signal_to_noise=signal), seed).raw).bars
            asked = Request(SAMPLE, experiment({}), gates=QUICK)
            _, verdict = judged(train(bars, asked.experiment).predictions, asked, run_id="r")
            passed[signal] += verdict.passed
    assert passed[0.0] == 0
    assert passed[0.3] >= 7


def test_data_that_are_not_valid_leave_nothing_behind(tmp_path: Path) -> None:
    """A half-written run looks like a candidate."""
    lines = market(tmp_path, 0.0).read_text().splitlines()
    (tmp_path / "twice.csv").write_text("\n".join([*lines, lines[5]]) + "\n")
    with pytest.raises(VerdictNo, match="twice"):
        trained(tmp_path / "out", tmp_path / "twice.csv", strict=True)
    assert not (tmp_path / "out").exists()


def test_a_look_at_the_data_writes_nothing(tmp_path: Path) -> None:
    """The dry run that the guide names did not exist."""
    before = sorted(tmp_path.rglob("*"))
    found = dataset(Request(SAMPLE, experiment({})))
    assert found.rejected == 0
    assert [one.name for one in found.findings] == ["gaps"]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_symbol_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A training on nothing would fail far from its cause."""
    with pytest.raises(PlmsError, match="NASDAQ"):
        retrain(
            Request(SAMPLE, experiment({"data": {"symbols": ["NASDAQ"]}})),
            root=tmp_path,
            clock=CLOCK,
            run_id="r",
            code_version="0",
        )
    assert not list(tmp_path.iterdir())


def test_a_report_lies_beside_the_model_and_tells_its_figures(tmp_path: Path) -> None:
    """A person decides about what the page says; the summary is what the hash of the decision covers."""
    done = trained(tmp_path, has_report=True)
    for name, said in (("total_return", "Total return"), ("max_drawdown", "Max drawdown")):
        figure = f"{done.summary['risk'][name]:,.2%}"
        assert f"| {said} | {figure} |" in (done.run.path / "report.md").read_text()
        assert figure in (done.run.path / "report.html").read_text()
    text = (done.run.path / "report.md").read_text()
    for name, value in done.summary["uncertainty"]["intervals"].items():
        assert f"| {name.replace('_', ' ').title()} | {number(value['point'])} | {number(value['low'])} |" in text
    assert f"{len(done.verdict.blocking)} of {len(done.verdict.gates)} gates" in text
    assert (done.run.path / "report_assets" / "equity_curve.png").is_file()
