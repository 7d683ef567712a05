"""Does a report show what is true, all of it, and nothing that runs?"""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ET
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plms_pipeline.cli import main
from plms_pipeline.models.reporting.actions import Sources, Written, report_model
from plms_pipeline.models.reporting.blocks import Report, Section, Table
from plms_pipeline.models.reporting.composing import Asked, compose
from plms_pipeline.models.reporting.evidence import Evidence
from plms_pipeline.models.reporting.files import read_predictions
from plms_pipeline.models.reporting.reading import Columns, rows_of
from plms_pipeline.models.reporting.render.charts import thinned
from plms_pipeline.models.reporting.render.markdown import escaped, markdown

HOSTILE = "<script>alert(1)</script>|`x`"
QUICK = Asked(resamples=300)
IN_ORDER = [
    "Overview", "Gates", "Alerts", "Risk Metrics", "Profitability Summary", "Research Agenda Alignment",
    "Attribution by Symbol", "Regime Attribution", "Scenario Analysis", "Bootstrapped Confidence Intervals (95%)",
    "What-if: Costs and Caps", "Annotations", "Visualisations",
]  # fmt: skip
GATES = {
    "passed": False,
    "gates": [{"name": "sharpe", "passed": False, "value": 0.1, "threshold": 1.0, "reason": "too low"}],
}
SUMMARY = {
    "alerts": [{"code": "drawdown_above_limit", "value": -0.2, "threshold": 0.1, "message": HOSTILE}],
    "thresholds": {"max_drawdown": 0.1},
}
NOTE = {
    "decision": "reject", "symbol": HOSTILE, "trade_timestamp": None, "rationale": HOSTILE, "confidence": None,
    "tags": ["a|b"], "author": "someone",
}  # fmt: skip


@cache
def predictions() -> pd.DataFrame:
    generator = np.random.default_rng(1)
    days = pd.date_range("2024-01-01", periods=60, freq="D", tz="UTC")
    rows = [(symbol, day) for symbol in ("AAA", HOSTILE) for day in days]
    n = len(rows)
    position, following = np.tanh(generator.normal(size=n)), generator.normal(0, 0.01, n)
    return pd.DataFrame(
        {
            "symbol": [one[0] for one in rows], "window_end": [one[1] for one in rows],
            "realised_return": position * following, "position": position, "next_return": following,
            "benchmark_return": np.tile(following[:60], 2), "regime__mood": ["calm", HOSTILE] * (n // 2),
        }
    )  # fmt: skip


@cache
def whole() -> Report:
    given = Evidence(
        metrics={"sharpe": 9.0, "ic": 0.5}, summary=SUMMARY, gates=GATES,
        manifest={"run_id": "r1", "lineage": {"reason": HOSTILE}},
        milestones=[HOSTILE, {"name": "Beats the index", "status": "done"}], annotations=[NOTE],
    )  # fmt: skip
    columns = Columns(benchmark="benchmark_return")
    asked = Asked(title=HOSTILE, columns=columns, resamples=300)
    return compose(rows_of(predictions(), columns), asked, given)


def section(report: Report, title: str) -> Section:
    return next(one for one in report.sections if one.title.startswith(title))


def rows(report: Report, title: str) -> dict[str, tuple[str, ...]]:
    tables = [block for block in section(report, title).blocks if isinstance(block, Table)]
    return {row[0].text: tuple(cell.text for cell in row[1:]) for one in tables for row in one.rows}


def test_the_sections_stand_in_the_order_of_the_source() -> None:
    """Who has read a hundred of them looks where the figure used to be."""
    assert [one.title for one in whole().sections] == IN_ORDER


def test_what_is_not_known_has_no_section() -> None:
    """An empty table of alerts reads as if limits had been set, and kept."""
    table = predictions()[["symbol", "window_end", "realised_return"]]
    titles = [one.title for one in compose(rows_of(table, Columns()), QUICK, Evidence()).sections]
    assert titles == [
        "Overview", "Risk Metrics", "Profitability Summary", "Attribution by Symbol", "Scenario Analysis",
        "Bootstrapped Confidence Intervals (95%)", "Visualisations",
    ]  # fmt: skip


def test_an_interval_is_of_the_figure_that_it_stands_beside() -> None:
    """The source put an annualised interval around a Sharpe ratio per period."""
    intervals, risk = rows(whole(), "Bootstrapped"), rows(whole(), "Risk Metrics")
    for name, (point, low, high) in intervals.items():
        if name not in {"Sharpe", "Max Drawdown"}:
            assert point == risk[name][0], name
            assert float(low) <= float(point) <= float(high), name
    assert intervals["Max Drawdown"][0] == risk["Max Drawdown"][0]
    assert intervals["Sharpe"][0] in risk["Sharpe"][1]


def test_a_figure_that_was_given_is_shown_beside_ours() -> None:
    """A file of metrics of another run would otherwise stand as the truth about this one."""
    risk = rows(whole(), "Risk Metrics")
    assert risk["Sharpe"][0] == "9.000000"
    assert risk["Sharpe"][1].startswith("given; these predictions say")
    assert risk["Ic"] == ("0.500000", "given")


def test_one_report_has_one_drawdown() -> None:
    """8.64 % and 9.12 % stood in one report of the source."""
    profit = rows(whole(), "Profitability")["Max drawdown"][0]
    assert profit in rows(whole(), "Scenario")
    assert f"{float(rows(whole(), 'Risk')['Max Drawdown'][0]):.2%}" == profit


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_hostile_names_and_runs_nothing(tmp_path: Path) -> None:
    """The source put titles and labels into the page as they came."""
    from plms_pipeline.models.reporting.render.html import page

    parsed = _Tags()
    parsed.feed(page(whole()))
    assert not [tag for tag, _ in parsed.tags if tag in {"script", "link", "iframe"}]
    assert parsed.text.count("<script>alert(1)</script>") >= 6
    images = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert len(images) == 2
    for one in images:
        assert len(one["alt"] or "") > 40
        kind, _, content = (one["src"] or "").partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert ET.fromstring(base64.b64decode(content)).tag.endswith("svg")
    addresses = [a.get("src") or a.get("href") or "" for tag, a in parsed.tags if tag != "a"]
    assert all(one.startswith("data:") for one in addresses if one)


def test_the_markdown_keeps_its_tables_whatever_a_symbol_is_called() -> None:
    """A bar in a name made a column too many, and HTML in it ran in the viewer."""
    text = markdown(whole(), "x_assets")
    assert "<script" not in text
    lines = text.splitlines()
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")]
    starts = [place for place, line in enumerate(lines) if re.fullmatch(r"\| [:\-| ]+\|", line)]
    for start in starts:
        width = len(re.findall(r"(?<!\\)\|", lines[start]))
        end = next(place for place in range(start, len(lines)) if not lines[place].startswith("|"))
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[start - 1 : end]} == {width}
    assert widths
    assert "](<x_assets/equity_curve.png>)" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# no heading", "&#35; no heading"),
        ("1. no list", "&#49;. no list"),
        ("- no list", "&#45; no list"),
        ("[a](http://b)", r"\[a\](http:&#47;&#47;b)"),
        ("two\nlines", "two lines"),
        ("-0.5", "-0.5"),
        ("a_b*c", r"a\_b\*c"),
    ],
)
def test_markdown_is_text_and_no_marks(text: str, shown: str) -> None:
    """A rationale that begins with a number sign became a heading."""
    assert escaped(text) == shown


def written(folder: Path, name: str, content: Path, **more: object) -> Written:
    return report_model(Sources(content), folder / name, QUICK, **more)  # type: ignore[arg-type]


def test_the_same_predictions_read_alike_in_every_form(tmp_path: Path) -> None:
    """CSV has no types and JSON has milliseconds; the report must not depend on it."""
    table = predictions()
    table.to_parquet(tmp_path / "p.parquet")
    table.to_csv(tmp_path / "p.csv", index=False)
    table.to_csv(tmp_path / "p.csv.gz", index=False)
    epochs = table.assign(window_end=[int(one.timestamp() * 1_000) for one in table["window_end"]])
    epochs.to_json(tmp_path / "p.json", orient="records", double_precision=15)
    table.to_json(tmp_path / "p.jsonl", orient="records", lines=True, double_precision=15, date_format="iso")
    found = []
    for name in ("p.parquet", "p.csv", "p.csv.gz", "p.json", "p.jsonl"):
        report = compose(rows_of(read_predictions(tmp_path / name), Columns()), QUICK, Evidence())
        found.append(
            [rows(report, one) for one in ("Overview", "Risk", "Profitability", "Attribution", "Bootstrapped")]
        )
    assert all(one == found[0] for one in found[1:])


def test_the_command_writes_a_page_or_markdown_with_its_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What people type: the flags of the source, and exit codes that scripts understand."""
    predictions().to_csv(tmp_path / "p.csv", index=False)
    (tmp_path / "m.json").write_text('{"sharpe": NaN, "calmar": Infinity}')
    given = ["report-model", "--predictions", str(tmp_path / "p.csv"), "--json"]
    assert main([*given, "--output", str(tmp_path / "r.md"), "--metrics", str(tmp_path / "m.json"), "--no-equity"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == "markdown"
    assert [Path(one).name for one in told["pictures"]] == ["return_distribution.png"]
    assert all(Path(one).read_bytes().startswith(b"\x89PNG") for one in told["pictures"])
    assert "| Calmar | *unknown* |" in (tmp_path / "r.md").read_text()
    assert main([*given, "--output", str(tmp_path / "r.html"), "--no-equity", "--no-distribution"]) == 0
    assert json.loads(capsys.readouterr().out)["sections"][-1] != "Visualisations"
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert main([*given[:2], str(tmp_path / "no.csv"), "--output", str(tmp_path / "r.html"), "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "file_missing"
    assert main([*given, "--output", str(tmp_path / "r.md"), "--charts-dir-name", "../x"]) == 2


def test_a_long_path_is_thinned_without_losing_its_extremes() -> None:
    """The deepest point of twenty years is one minute."""
    values = np.zeros(100_000)
    values[54_321], values[77_777] = -1.0, 1.0
    kept = thinned(values)
    assert kept.size < 2_000
    assert {0, 54_321, 77_777, 99_999} <= set(kept.tolist())
