"""`plms forecast`, `plms priors`, `plms receipts` as a person or a script uses them: real command line, real exit codes."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from plms_pipeline.cli import main
from plms_pipeline.clock import FrozenClock
from plms_pipeline.estimates.actions.calibration import write_priors
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.estimates.conftest import NOON, Book


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("PLMS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLMS_REPORTS_DIR", str(settings.reports_dir))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def filled(sqlite_book: Book) -> Book:
    # The commands ask the machine's clock: these lie far enough in the past for any.
    for i in range(20):
        sqlite_book.add(("[red]m", "n")[i % 2], f"{1 + i % 4}.25", at=NOON - timedelta(days=400) + timedelta(hours=i))
    return sqlite_book


def plms(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_forecast_shows_interval_budget_ground_and_coverage(capsys: pytest.CaptureFixture[str], filled: Book) -> None:
    """The command of the README, with a name that rich must not read as markup."""
    code, out, err = plms(
        capsys, "forecast", "--lane", "4200", "--provider", "[red]m", "--tasks", 5, "--compare", "n, new"
    )
    assert (code, err) == (0, "")
    for text in (
        "5 tasks · lane 4200 · [red]m",
        "suffices with 0.95",
        "lane and provider, n=10",
        "unknown",
        "'new'",
        "Compared",
    ):
        assert text in out


def test_a_forecast_for_machines_is_one_document(
    capsys: pytest.CaptureFixture[str], filled: Book, tmp_path: Path
) -> None:
    """Scripts read JSON, and a plan comes from a file."""
    plan = tmp_path / "plan.csv"
    plan.write_text("lane,provider,tasks\n4200,n,3\n4201,n,2\n")
    code, out, _ = plms(capsys, "forecast", "--from", plan, "--quantile", 0.8, "--compare", "[red]m", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["tasks"], found["quantile"], len(found["compared"])) == (5, 0.8, 1)
    line = found["forecasts"][0]
    assert line["low"] <= line["median"] <= line["budget"] <= line["high"]
    assert {"basis", "measure", "mean", "rests_on", "last_night"} <= set(line)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--lane", "9999", "--provider", "n"], "'9999' is no registered lane"),
        (["--lane", "4200"], "Give --lane and --provider"),
        (["--lane", "4200", "--provider", " "], "Give --lane and --provider"),
        (["--lane", "4200", "--provider", "n", "--tasks", "0"], "'0' is no number of tasks"),
        (["--lane", "4200", "--provider", "n", "--quantile", "1"], "no probability"),
        (["--lane", "4200", "--provider", "n", "--quantile", "nan"], "no probability"),
        (["--from", "/nowhere/plan.csv"], "cannot be read"),
        (["--from", "/nowhere/plan.csv", "--tasks", "3"], "exclude each other"),
    ],
)
def test_bad_use_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], filled: Book, arguments: list[str], says: str
) -> None:
    """One error that names thing, rule and remedy."""
    code, out, err = plms(capsys, "forecast", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_nothing_to_answer_from_is_exit_3(capsys: pytest.CaptureFixture[str], sqlite_book: Book) -> None:
    """An empty registry is no success."""
    assert plms(capsys, "forecast", "--lane", "4200", "--provider", "n")[0] == 3
    assert plms(capsys, "priors")[0] == 3
    assert plms(capsys, "priors", "--basis", "hope")[0] == 2


def test_priors_are_listed_for_people_and_machines(
    capsys: pytest.CaptureFixture[str], filled: Book, clock: FrozenClock
) -> None:
    """What the night learnt, from a terminal."""
    write_priors(filled.registry, as_of=NOON, alpha=0.3, clock=clock)
    code, out, _ = plms(capsys, "priors", "--basis", "effort")
    assert "\\" not in out
    assert code == 0
    assert "[red]m" in out
    rows = json.loads(plms(capsys, "priors", "--json")[1])["priors"]
    (row,) = [row for row in rows if (row["lane_id"], row["provider"], row["basis"]) == (4200, "n", "effort")]
    assert row["n"] == 10
    assert row["cost_usd"]["low"] < row["cost_usd"]["median"] < row["cost_usd"]["high"]


def test_a_run_is_explained(capsys: pytest.CaptureFixture[str], filled: Book) -> None:
    """Rules, values and what moved; in words and as JSON."""
    run = filled.add("n", "2.5", validation="failed", at=NOON - timedelta(days=300))
    code, out, _ = plms(capsys, "receipts", "explain", run)
    assert code == 0
    for text in ("validation=failed", "NO", "What it moved", "without"):
        assert text in out
    found = json.loads(plms(capsys, "receipts", "explain", run, "--json")[1])
    assert found["receipts"][0]["teaches"] == {"effort": False, "spend": True}
    assert plms(capsys, "receipts", "explain", "nobody")[0] == 2


def test_who_only_asks_writes_nothing(
    capsys: pytest.CaptureFixture[str], filled: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forecast is asked by accounts that may read the books and not write them: any write would be an error for them."""
    opened: list[bool] = []
    original = Registry.open

    def open_and_note(url: str, *, read_only: bool = False) -> Registry:
        opened.append(read_only)
        return original(url, read_only=read_only)

    monkeypatch.setattr(Registry, "open", open_and_note)
    code, _, err = plms(capsys, "forecast", "--lane", "4200", "--provider", "n")
    assert (code, err) == (0, "")
    assert opened
    assert all(opened)
