"""Does every option of `plms retrain` do what it says?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from plms_pipeline.cli import main
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline_tests.models.worlds import market

SHORT = "walk_forward: {train: 150, test: 40}\n"


class Desk:
    """A folder with prices and an experiment, and the command."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys
        write_prices(root / "prices.csv", market().raw)
        self.write("short.yaml", SHORT)
        self.given = ["--dataset", str(root / "prices.csv"), "--train-config", str(root / "short.yaml")]

    def write(self, name: str, text: str) -> str:
        (self.root / name).write_text(text, encoding="utf-8")
        return str(self.root / name)

    def asked(self, *flags: str, code: int = 0) -> dict[str, Any]:
        """What `plms retrain` answers as JSON, or the error."""
        assert main(["retrain", *flags, "--json"]) == code
        out = self.capsys.readouterr()
        return json.loads(out.out)  # type: ignore[no-any-return]

    def refused(self, *flags: str, code: int = 2) -> str:
        assert main(["retrain", *flags, "--json"]) == code
        return str(json.loads(self.capsys.readouterr().err)["error"]["code"])

    def train(self, *flags: str) -> tuple[dict[str, Any], Path]:
        """A training that is registered nowhere, and its run."""
        told = self.asked(*self.given, "--output-dir", str(self.root / "out"), *flags)
        return told, Path(told["path"])

    def files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("PLMS_DATA_DIR", str(tmp_path / "data"))
    return Desk(tmp_path, capsys)


def test_a_dry_run_names_the_stages_that_would_run_and_writes_nothing(desk: Desk) -> None:
    """The dry run that the guide names did not exist; one that names the wrong stages is worse."""
    longer = desk.write("longer.yaml", "walk_forward: {train: 200}\n")
    before = desk.files()
    for flags, stages in (
        ((), ["training"]),
        (("--regenerate-regimes", "--run-reinforcement"), ["regimes", "training", "reinforcement"]),
        (("--pretrain-config", longer), ["pretraining", "training"]),
        (("--pretrain-config", longer, "--skip-pretraining"), ["training"]),
    ):
        told = desk.asked(*desk.given, "--dry-run", *flags)
        assert told["stages"] == ["dataset", *stages, "evaluation", "report"]
    assert desk.files() == before


@pytest.mark.live
def test_every_stage_lies_in_its_folder_and_the_manifest_vouches_for_it(desk: Desk) -> None:
    """A file beside the manifest that it does not know could be anybody's."""
    told, run = desk.train(
        "--pretrain-config", desk.write("longer.yaml", "walk_forward: {train: 200}\n"),
        "--run-reinforcement", "--reinforcement-config", desk.write("other.yaml", "model: {alpha: 300}\n"),
        "--regenerate-regimes", "--eval-output", str(desk.root / "again"), "--eval-predictions", "p.csv",
    )  # fmt: skip
    again = told["evaluation"]
    assert again["run"] == str(run)
    assert again["operations_summary"]["risk"] == told["operations_summary"]["risk"]
    assert len((desk.root / "again" / "p.csv").read_text().splitlines()) == again["rows"] + 1
    kept = json.loads((run / "manifest.json").read_text())
    for name in (
        "pretraining/checkpoints/candidate.npz", "pretraining/experiment.json", "training/checkpoints/candidate.npz",
        "training/checkpoints/folds.npz", "reinforcement/checkpoints/candidate.npz", "reinforcement/evaluation_metrics.json",
        "regimes/regimes.parquet",
    ):  # fmt: skip
        assert name in kept["files"], name
        assert (run / name).is_file()
    assert kept["stages"]["names"] == ["regimes", "pretraining", "training", "reinforcement"]
    assert kept["warm_start"]["from"] == "pretraining"
    assert kept["stages"]["reinforcement"]["warm_start"]["from"] == "training"
    compared = json.loads((run / "reinforcement/evaluation_metrics.json").read_text())
    assert compared["note"] == "challenger; no reinforcement learning happens"
    assert compared["training"]["sharpe"] == pytest.approx(told["operations_summary"]["risk"]["sharpe"])
    # Three walk-forwards were looked at, and the luck of the best of three is taken off.
    assert told["trials"] == told["operations_summary"]["deflated_sharpe"]["trials"] == 3
    rows = pd.read_parquet(run / "evaluation/predictions.parquet")
    assert set(rows["regime__volatility_regime"]) <= {"low_vol", "mid_vol", "high_vol", "volatility_unknown"}
    report = (run / "report.md").read_text()
    assert "## Regime Attribution" in report
    assert told["model_sha256"] in report
    assert "no reinforcement learning happens" in report
    assert told["stages"]["regimes"]["row_count"] > 0


@pytest.mark.live
def test_a_challenger_is_told_for_what_it_is(desk: Desk) -> None:
    """Who reads "reinforcement" believes in a policy that was learnt."""
    config = desk.write("small.yaml", "model: {kind: boosting, iterations: 2}\n")
    flags = ["--run-reinforcement", "--reinforcement-config", config, "--output-dir", str(desk.root / "out")]
    assert main(["retrain", *desk.given, *flags]) == 0
    out = desk.capsys.readouterr()
    assert "Challenger (no reinforcement learning happens)" in out.out
    assert "only a ridge can start from weights" in out.err


@pytest.mark.live
def test_no_validation_trains_on_what_a_strict_experiment_refuses(desk: Desk) -> None:
    """A flag of the source that is swallowed leaves people with a refusal that they cannot lift."""
    lines = (desk.root / "prices.csv").read_text().splitlines()
    twice = desk.write("twice.csv", "\n".join([*lines, lines[5]]) + "\n")
    strict = desk.write("strict.yaml", SHORT + "data: {strict_validation: true}\n")
    given = ["--dataset", twice, "--train-config", strict, "--output-dir", str(desk.root / "out")]
    assert desk.refused(*given, code=1) == "data_not_valid"
    assert desk.asked(*given, "--no-validation")["rejected_rows"] == 1
    assert desk.refused(*given, "--no-validation", "--strict-validation") == "options_contradict"


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--reinforcement-config", "short.yaml"), "option_needs"),
        (("--warm-start", "pretraining"), "nothing_to_start_from"),
        (
            ("--pretrain-config", "short.yaml", "--skip-pretraining", "--warm-start", "pretraining"),
            "nothing_to_start_from",
        ),
        (("--pretrain-config", "short.yaml", "--warm-start", "none"), "pretraining_does_not_fit"),
        (("--pretrain-config", "other.yaml"), "pretraining_does_not_fit"),
        (("--run-reinforcement", "--reinforcement-config", "longer.yaml"), "other_walk_forward"),
    ],
)
def test_options_that_make_no_sense_together_are_refused_and_leave_nothing(
    desk: Desk, flags: tuple[str, ...], code: str
) -> None:
    """The source took them all, and ran something else than was asked for."""
    desk.write("other.yaml", "target: {horizon: 2}\n")
    desk.write("longer.yaml", "walk_forward: {train: 200}\n")
    named = [str(desk.root / one) if one.endswith(".yaml") else one for one in flags]
    before = desk.files()
    assert desk.refused(*desk.given, *named) == code
    assert desk.refused(*desk.given, *named, "--dry-run") == code
    assert desk.files() == before


def test_a_stage_that_fails_leaves_nothing_half_written(desk: Desk) -> None:
    """A pretraining that is there without its training looks like a candidate."""
    long = desk.write("long.yaml", "walk_forward: {train: 5000}\n")
    assert desk.refused(*desk.given, "--output-dir", str(desk.root / "out"), "--pretrain-config", long, code=3)
    assert not (desk.root / "out" / "automation_runs").exists()
