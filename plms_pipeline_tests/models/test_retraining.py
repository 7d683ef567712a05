"""Is what comes out of a training honest, whole, and the same for the same data?"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from plms_pipeline.cli import main
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import BadInput, PlmsError, VerdictNo
from plms_pipeline.models.actions.evaluating import judged
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.retraining import Retrained, dataset, retrain
from plms_pipeline.models.evaluation.gates import GateConfig
from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
from plms_pipeline.models.market.bars import Bars, Floats
from plms_pipeline.models.market.checks import examine
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.market.generator import World, generate
from plms_pipeline.models.reporting.blocks import number
from plms_pipeline.models.training.experiment import experiment
from plms_pipeline.models.training.features import backward_features
from plms_pipeline.models.training.fit import train
from plms_pipeline_tests.models.worlds import small_experiment, small_training

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


def test_a_run_that_is_interrupted_in_its_last_stage_is_none(tmp_path: Path) -> None:
    """Ctrl-C while the report was written left a run that looked whole, had no report and waited for nobody."""

    def interrupted(stage: str, _what: str) -> None:
        if stage == "report":
            raise KeyboardInterrupt

    asked = Request(SAMPLE, experiment({}), gates=QUICK)
    with pytest.raises(KeyboardInterrupt):
        retrain(asked, root=tmp_path, clock=CLOCK, run_id="r1", code_version="0", told=interrupted)
    assert list((tmp_path / "automation_runs").iterdir()) == []
    done = retrain(asked, root=tmp_path, clock=CLOCK, run_id="r1", code_version="0")
    assert (done.run.path.name, (done.run.path / "report.html").is_file()) == ("20260301-120000", True)


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
    """Whoever retrains every week would otherwise promote noise twice a year. Others than `make prove-gates` begins with."""
    passed = {0.0: 0, 0.3: 0}
    for signal in passed:
        for seed in range(4, 8):
            bars = examine(generate(World(bars=3_000, signal_to_noise=signal), seed).raw).bars
            asked = Request(SAMPLE, experiment({}), gates=QUICK)
            _, verdict = judged(train(bars, asked.experiment).predictions, asked, run_id="r")
            passed[signal] += verdict.passed
    assert passed[0.0] == 0
    assert passed[0.3] >= 3


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


@pytest.mark.parametrize(
    ("asked", "told", "code"),
    [
        ({"walk_forward": {"train": 100_000}}, "history_too_short", 3),
        ({"data": {"features": ["astrology"]}}, "unknown_feature", 2),
    ],
)
def test_a_dry_run_refuses_what_the_training_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: dict[str, object], told: str, code: int
) -> None:
    """It answered that it would run, and the run then failed."""
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps(asked))
    assert main(["retrain", "--dataset", str(SAMPLE), "--train-config", str(path), "--dry-run", "--json"]) == code
    assert json.loads(capsys.readouterr().err)["error"]["code"] == told


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


def deceptive(folder: Path, what: str) -> Path:
    """A market whose file makes one of the mistakes that look like skill."""
    raw = generate(World(bars=2_000), 3).raw
    chance = np.random.default_rng(5)
    close = raw.numbers["close"]
    closes = {
        "shuffled_time": chance.permuted(close.reshape(4, -1), axis=1).ravel(),
        "returns_as_prices": 1.0 + chance.normal(0.0, 0.01, close.size),
    }[what]
    prices = dict.fromkeys(("open", "high", "low", "close"), closes)
    write_prices(folder / "deceptive.csv", replace(raw, numbers={**raw.numbers, **prices}))
    return folder / "deceptive.csv"


@pytest.mark.parametrize("what", ["shuffled_time", "returns_as_prices"])
def test_data_that_deceive_are_refused_by_name_and_leave_nothing_behind(tmp_path: Path, what: str) -> None:
    """Whatever is learnt from them looks like skill, and the gates would see a good candidate."""
    with pytest.raises(BadInput) as caught:
        trained(tmp_path / "out", deceptive(tmp_path, what))
    assert caught.value.code == what
    assert not (tmp_path / "out").exists()


def test_a_feature_that_sees_the_future_is_refused_by_name(tmp_path: Path) -> None:
    """It would earn a fortune in every backtest."""

    def tomorrow(bars: Bars, rows: slice) -> dict[str, Floats]:
        log = np.log(bars.close[rows])
        return {**backward_features(bars, rows), "tomorrow": np.diff(log, append=log[-1:])}

    asked = Request(market(tmp_path, 0.0), experiment({}), gates=QUICK)
    with pytest.raises(BadInput, match="tomorrow of SIM000") as caught:
        retrain(asked, root=tmp_path / "out", clock=CLOCK, run_id="r", code_version="0", function=tomorrow)
    assert caught.value.code == "look_ahead_features"
    assert not (tmp_path / "out").exists()


def test_predictions_that_earn_price_levels_are_refused_by_name() -> None:
    """What the source called realised return was the price."""
    rows = small_training().predictions
    asked = Request(SAMPLE, small_experiment(), gates=QUICK)
    judged(rows, asked, run_id="r")
    with pytest.raises(BadInput, match=r"levels_as_returns.*realised_return") as caught:
        judged(replace(rows, realised_return=100.0 * np.exp(np.cumsum(rows.next_return))), asked, run_id="r")
    assert caught.value.code == "levels_as_returns"


def test_limits_of_the_experiment_hold_unless_a_flag_says_otherwise() -> None:
    """A limit that stands in the file and is not asked protects nobody."""
    rows = small_training().predictions
    file = small_experiment(thresholds={"min_sharpe": 90.0, "max_drawdown": 0.0001})
    codes = ["sharpe_below_minimum", "drawdown_above_limit"]
    summary, verdict = judged(rows, Request(SAMPLE, file, gates=QUICK), run_id="r")
    assert [one["code"] for one in summary["alerts"]] == codes
    assert {f"limit:{code}" for code in codes} <= {gate.name for gate in verdict.blocking}
    lenient = Request(SAMPLE, file, gates=QUICK, thresholds=OperationsThresholds(max_drawdown=1.0))
    summary, _ = judged(rows, lenient, run_id="r")
    assert [one["code"] for one in summary["alerts"]] == codes[:1]
    assert summary["thresholds"]["max_drawdown"] == 1.0


def test_guardrails_of_the_experiment_cut_or_tell() -> None:
    """A book beyond the limit that only a drawing of the exposures shows is found out when it is traded."""
    rows = small_training().predictions
    limits = {
        "enabled": True,
        "max_gross_exposure": 0.01,
        "max_symbol_exposure": 0.01,
        "sector_caps": {"technology": 0.1},
    }
    cut, passed = judged(rows, Request(SAMPLE, small_experiment(guardrails=limits), gates=QUICK), run_id="r")
    assert cut["enforcement"] == {"kind": "clip", "scaled": True, "violations": []}
    assert not [gate for gate in passed.blocking if gate.name.startswith("limit:")]
    warned, verdict = judged(
        rows, Request(SAMPLE, small_experiment(guardrails={**limits, "enforcement": "warn"}), gates=QUICK), run_id="r"
    )
    assert not warned["enforcement"]["scaled"]
    assert {"gross_exposure_peak", "symbol_exposure:SIM000"} <= {
        one["name"] for one in warned["enforcement"]["violations"]
    }
    names = {gate.name for gate in verdict.blocking}
    assert {"limit:guardrail_gross_exposure_peak_broken", "limit:guardrail_symbol_exposure_broken"} <= names
    without, _ = judged(rows, Request(SAMPLE, small_experiment(), gates=QUICK), run_id="r")
    assert "enforcement" not in without


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
