"""Does every option that evaluates a run again do what it says, and leave the run as it was?"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
import typer

from plms_pipeline.cli import main
from plms_pipeline.clock import FrozenClock
from plms_pipeline.models.actions.deciding import Places
from plms_pipeline.models.commands.retrain import app
from plms_pipeline.models.market.bars import Bars
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.training.files import PREDICTIONS
from plms_pipeline.models.watch.returns import live_returns, trained_of
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.models.candidates import NOW, House, counted, run_on_disk
from plms_pipeline_tests.models.watch.test_looking import continued
from plms_pipeline_tests.models.worlds import small_bars, small_experiment, small_training

ROOT = Path(__file__).parents[2]
# Of the source's command, as its fact sheet names them.
SOURCE = (
    "dataset train-config output-dir pretrain-config reinforcement-config skip-pretraining skip-training run-reinforcement "
    "warm-start no-validation regenerate-regimes run-evaluation eval-config eval-checkpoint eval-output eval-predictions "
    "eval-metrics eval-operations eval-trades eval-return-col eval-benchmark-col eval-device eval-trade-timestamp-col "
    "eval-trade-symbol-col eval-trade-notional-col eval-trade-position-col eval-trade-price-col eval-trade-return-col "
    "eval-capital-base eval-tail-percentile eval-min-sharpe eval-max-drawdown eval-max-gross-exposure eval-max-turnover "
    "eval-min-tail-return eval-max-tail-frequency eval-max-symbol-exposure"
)
OURS = {"from", "symbol", "strict-validation", "trials", "reason", "dry-run", "json", "help"}
AGAIN = ("--skip-training", "--run-evaluation", "--eval-checkpoint")


# Asks `plms retrain` for something impossible; the code of its answer.
Refusal = Callable[..., str]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


class Desk:
    """A run of which something is asked."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys
        self.run = run_on_disk(root / "data", "r1", clock=FrozenClock(NOW)).path

    def asked(self, *flags: str, code: int = 0, run: str | None = None) -> dict[str, Any]:
        assert main(["retrain", *AGAIN, run or str(self.run), *flags, "--json"]) == code
        out = self.capsys.readouterr()
        return json.loads(out.out or out.err)  # type: ignore[no-any-return]

    def looked(self, *flags: str, run: str | None = None) -> dict[str, Any]:
        """What would come out, nothing being written."""
        return self.asked(*flags, "--dry-run", run=run)

    def refused(self, *flags: str, code: int = 2, run: str | None = None) -> str:
        return str(self.asked(*flags, code=code, run=run)["error"]["code"])

    def write(self, name: str, text: str) -> str:
        (self.root / name).write_text(text, encoding="utf-8")
        return str(self.root / name)

    def prices(self, bars: Bars) -> str:
        write_prices(self.root / "newer.csv", bars.raw())
        return str(self.root / "newer.csv")


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("PLMS_DATA_DIR", str(tmp_path / "data"))
    return Desk(tmp_path, capsys)


@pytest.fixture
def home(sqlite_registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> House:
    for name, value in (("PLMS_DATA_DIR", settings.data_dir), ("PLMS_REPORTS_DIR", settings.reports_dir)):
        monkeypatch.setenv(name, str(value))
    return House(sqlite_registry, Places(settings.data_dir, settings.reports_dir), counted())


def alerts(told: dict[str, Any]) -> list[str]:
    return [one["code"] for one in told["operations_summary"]["alerts"]]


def test_the_page_of_options_names_those_of_the_source_and_the_command_has_them() -> None:
    """A table that was right once is worse than none."""
    source = {f"--{name}" for name in SOURCE.split()}
    text = (ROOT / "docs/retrain.md").read_text(encoding="utf-8")
    table = text.partition("## Every option of the source")[2]
    rows = re.findall(r"^\| `(--[a-z-]+)` \| [=~!] \| .+ \|$", table, re.MULTILINE)
    assert sorted(rows) == sorted(source)
    ours = re.search(r"Ours besides: (.+?)\. Options", table, re.DOTALL)
    assert ours is not None
    assert set(re.findall(r"--[a-z-]+", ours[1])) | {"--help"} == {f"--{name}" for name in OURS}
    command = typer.main.get_command(app)
    with click.Context(command) as context:
        real = {name for one in command.get_params(context) for name in one.opts}  # type: ignore[arg-type]
    plain = {name.replace("--eval-", "--") for name in source if name.startswith(("--eval-min", "--eval-max"))}
    assert real - {"--install-completion", "--show-completion"} == source | plain | {f"--{name}" for name in OURS}


def test_limits_columns_and_tail_are_those_that_were_asked_for(desk: Desk) -> None:
    """An option that is read and dropped is believed."""
    told = desk.looked("--eval-min-sharpe", "50", "--max-drawdown", "0.00001")
    assert alerts(told) == ["sharpe_below_minimum", "drawdown_above_limit"]
    assert told["stages"] == ["evaluation", "report"]
    rows = small_training().predictions
    returns = desk.looked("--eval-return-col", "next_return")["operations_summary"]
    assert returns["returns"]["column"] == "next_return"
    assert returns["returns"]["benchmark_column"] is None
    mean = pd.Series(rows.next_return).groupby(rows.window_end).mean()
    assert returns["risk"]["average_return"] == pytest.approx(mean.mean())
    against = desk.looked("--eval-benchmark-col", "next_return")["operations_summary"]
    assert against["returns"]["benchmark_column"] == "next_return"
    assert against["risk"]["average_excess_return"] == pytest.approx(
        (pd.Series(rows.realised_return).groupby(rows.window_end).mean() - mean).mean()
    )
    tails = [
        desk.looked("--eval-tail-percentile", str(one))["operations_summary"]["guardrails"]["tail_return_quantile"]
        for one in (1, 50)
    ]
    assert tails[0] < tails[1]
    assert desk.refused("--eval-return-col", "astrology") == "missing_column"
    assert desk.refused("--eval-benchmark-col", "astrology") == "missing_column"


def test_limits_of_a_file_stand_in_place_of_the_experiments(desk: Desk) -> None:
    """Stricter limits for one look must not need another training."""
    config = desk.write(
        "e.yaml", "thresholds: {min_sharpe: 50}\nguardrails: {enabled: true, max_gross_exposure: 0.001}\n"
    )
    told = desk.looked("--eval-config", config)
    assert alerts(told) == ["sharpe_below_minimum"]
    assert told["operations_summary"]["enforcement"]["scaled"]
    assert alerts(desk.looked("--eval-config", config, "--eval-min-sharpe", "-50")) == []
    assert desk.refused("--eval-config", desk.write("f.yaml", "seed: 8\n")) == "not_of_an_evaluation"
    assert desk.refused("--eval-config", desk.write("g.yaml", "thresholds: {min_sharp: 8}\n")) == "bad_experiment"


def test_trades_are_read_by_the_columns_that_are_named(desk: Desk) -> None:
    """The last five limits of the source never spoke, because nobody had given it trades."""
    lines = [
        "at,what,held,cost,won", "2020-01-01T00:00:00Z,A,10,100,5", "2020-01-01T00:00:00Z,B,-5,100,-20",
        "2020-01-02T00:00:00Z,A,20,100,-40",
    ]  # fmt: skip
    named = [
        "--eval-trades", desk.write("t.csv", "\n".join(lines) + "\n"), "--eval-trade-timestamp-col", "at",
        "--eval-trade-symbol-col", "what", "--eval-trade-position-col", "held", "--eval-trade-price-col", "cost",
        "--eval-trade-return-col", "won", "--eval-capital-base", "1000",
    ]  # fmt: skip
    told = desk.looked(
        *named, "--eval-max-gross-exposure", "1.9", "--eval-min-tail-return", "-30", "--eval-max-tail-frequency", "0.4"
    )
    rails = told["operations_summary"]["guardrails"]
    assert told["trades_rows"] == 3
    assert rails["gross_exposure_peak"] == pytest.approx(2.0)
    assert rails["max_symbol_exposure"] == pytest.approx(2.0)
    assert alerts(told) == ["gross_exposure_above_limit", "tail_return_below_floor", "tail_events_above_limit"]
    # A, then twice of it and none of B: 10 + 5 of 100 each moved, over two moments.
    assert rails["turnover_rate"] == pytest.approx(0.75)
    for flags in (("turnover", "0.74", "0.76"), ("symbol-exposure", "1.99", "2.01")):
        for limit, broken in ((flags[1], 1), (flags[2], 0)):
            assert len(alerts(desk.looked(*named, f"--eval-max-{flags[0]}", limit))) == broken
    money = desk.write("n.csv", "timestamp,symbol,money,pnl\n2020-01-01,A,3000,1\n")
    told = desk.looked("--eval-trades", money, "--eval-trade-notional-col", "money", "--eval-capital-base", "1000")
    assert told["operations_summary"]["guardrails"]["gross_exposure_peak"] == pytest.approx(3.0)
    assert desk.refused("--eval-trades", money) == "missing_column"
    assert desk.refused("--eval-trades", str(desk.root / "none.csv")) == "file_missing"
    assert desk.refused(*named[:2], "--eval-trade-timestamp-col", "when") == "missing_column"


def test_newer_bars_are_scored_and_none_that_the_model_knows(desk: Desk) -> None:
    """The source scored the rows that had taught the model, and called it an evaluation."""
    bars = continued()
    told = desk.looked("--dataset", desk.prices(bars))
    assert told["stages"] == ["dataset", "evaluation", "report"]
    returns = told["operations_summary"]["returns"]
    last = small_bars().timestamp.max()
    assert np.datetime64(returns["first"].removesuffix("+00:00")) > last
    document = json.loads((desk.run / "manifest.json").read_text())
    live = live_returns(bars, small_training().candidate, small_experiment(seed=7), trained_of(document, "it"))
    after = live.moments > last
    # The monitor comes to the same but for the first moments, at which it holds what it held before.
    assert returns["periods"] == int(after.sum())
    total = float(np.prod(1.0 + live.values[after]) - 1.0)
    assert told["operations_summary"]["risk"]["total_return"] == pytest.approx(total, abs=2e-3)
    assert desk.refused("--dataset", desk.prices(small_bars()), code=3) == "nothing_newer"
    assert desk.refused("--dataset", str(ROOT / "data/samples/sp500_daily.csv.gz")) == "other_symbols"


@pytest.mark.live
def test_what_comes_out_lies_where_it_was_asked_for_and_the_run_is_as_it_was(desk: Desk) -> None:
    """People decide about those bytes."""
    before = digests(desk.run)
    out = desk.root / "out"
    told = desk.asked(
        "--eval-output", str(out), "--eval-predictions", "p.csv", "--eval-metrics", str(desk.root / "m.json"),
        "--eval-operations", "deep/o.json",
    )  # fmt: skip
    assert digests(desk.run) == before
    rows = pd.read_csv(out / "p.csv")
    assert len(rows) == told["rows"] == small_training().predictions.count
    assert json.loads((out / "deep/o.json").read_text()) == told["operations_summary"]
    assert json.loads((desk.root / "m.json").read_text()) == told["metrics"]
    record = json.loads((out / "evaluation.json").read_text())
    assert record["manifest_sha256"] == before["manifest.json"]
    assert record["files"]["p.csv"] == hashlib.sha256((out / "p.csv").read_bytes()).hexdigest()
    assert "Model performance report" in (out / "report.html").read_text()
    own = pd.read_parquet(desk.run / PREDICTIONS)
    for name, read in (
        ("p.jsonl", lambda path: pd.read_json(path, lines=True)), ("p.json", pd.read_json), ("p.dat", pd.read_parquet)
    ):  # fmt: skip
        desk.asked("--eval-output", str(out), "--eval-predictions", name)
        found = reading(read, out / name)
        assert np.allclose(found["realised_return"], own["realised_return"])
    default = desk.asked()
    assert Path(default["path"]).parent == desk.root / "data" / "evaluations"


def reading(read: Callable[..., pd.DataFrame], path: Path) -> pd.DataFrame:
    return read(path)


def test_a_run_is_named_by_folder_model_id_or_champion(home: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Who knows the candidate by its id should not have to look for its folder."""
    home.champion("c1")
    folder = home.root / home.candidate("c2", seed=8).folder
    for name, run in (
        ("champion", "c1"),
        ("c2", "c2"),
        (str(folder), "c2"),
        (f"{folder}/training/checkpoints/candidate.npz", "c2"),
    ):
        assert main(["retrain", *AGAIN, name, "--dry-run", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["run_id"] == run
    for name, told in (
        ("c9", "unknown_candidate"), (f"{folder}/manifest.json", "not_a_run"), (f"{folder}/none", "file_missing")
    ):  # fmt: skip
        assert main(["retrain", *AGAIN, name, "--json"]) == 2
        assert json.loads(capsys.readouterr().err)["error"]["code"] == told
    (folder / PREDICTIONS).write_bytes(b"other")
    assert main(["retrain", *AGAIN, "c2", "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "run_altered"


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refusal:
    """In a house that is not there yet."""
    monkeypatch.setenv("PLMS_DATA_DIR", str(tmp_path / "data"))

    def refused(*flags: str) -> str:
        assert main(["retrain", *flags, "--json"]) == 2
        return str(json.loads(capsys.readouterr().err)["error"]["code"])

    return refused


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--skip-training",), "option_needs"),
        (("--skip-training", "--run-evaluation"), "option_needs"),
        (("--eval-checkpoint", "c1"), "option_needs"),
        (("--eval-checkpoint", "c1", "--run-evaluation"), "option_needs"),
        *(((f"--eval-trade-{name}-col", "x"), "option_needs") for name in
          ("timestamp", "symbol", "notional", "position", "price", "return")),
        (("--eval-capital-base", "5"), "option_needs"),
        (("--eval-device", "cuda"), "no_such_device"),
        *(((*AGAIN, "c1", *more.split()), "options_contradict") for more in (
            "--train-config x", "--from champion", "--output-dir x", "--pretrain-config x", "--run-reinforcement",
            "--warm-start none", "--regenerate-regimes", "--trials 3", "--reason x",
        )),
        *(((*AGAIN, "c1", *more), "option_needs") for more in (
            ("--symbol", "A"), ("--strict-validation",), ("--no-validation",),
        )),
    ],
)  # fmt: skip
def test_options_of_an_evaluation_that_make_no_sense_are_refused(
    tmp_path: Path, refusal: Refusal, flags: tuple[str, ...], code: str
) -> None:
    """The source took a checkpoint beside a training, and evaluated another model than the one that it had trained."""
    assert refusal(*flags) == code
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--eval-return-col", "astrology"), "missing_column"),
        (("--eval-benchmark-col", "astrology"), "missing_column"),
        (("--eval-tail-percentile", "101"), "bad_input"),
        (("--eval-config", "seed.yaml"), "not_of_an_evaluation"),
        (("--eval-trades", "none.csv"), "file_missing"),
        (("--eval-trades", "half.csv"), "missing_column"),
        (("--eval-trades", "half.csv", "--eval-trade-notional-col", "x", "--eval-capital-base", "0"), "bad_input"),
    ],
)
def test_what_is_wrong_with_an_evaluation_is_told_before_the_training(
    tmp_path: Path, refusal: Refusal, flags: tuple[str, ...], code: str
) -> None:
    """After an hour of training a misspelt column was found."""
    (tmp_path / "seed.yaml").write_text("seed: 8\n")
    (tmp_path / "half.csv").write_text("timestamp,symbol,pnl,x\n2020-01-01,A,1,2\n")
    named = [str(tmp_path / one) if one.endswith((".yaml", ".csv")) else one for one in flags]
    # There are no such prices: whoever reads them first says so.
    assert refusal("--dataset", str(tmp_path / "no.csv"), *named) == code


def test_no_evaluation_is_written_into_a_run(desk: Desk) -> None:
    """A summary that somebody signed was overwritten by a look with other limits."""
    before = digests(desk.run)
    inside = str(desk.run / "evaluation" / "operations_summary.json")
    for flags in (
        ("--eval-output", str(desk.run)),
        ("--eval-output", str(desk.run / "new")),
        ("--eval-operations", inside),
    ):
        assert desk.refused(*flags) == "inside_a_run"
    assert digests(desk.run) == before
    # Before an hour of training, too.
    assert main(["retrain", "--dataset", "x", "--eval-output", str(desk.run), "--json"]) == 2
    assert json.loads(desk.capsys.readouterr().err)["error"]["code"] == "inside_a_run"
