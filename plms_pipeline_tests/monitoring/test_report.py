"""Does the report say what the documents say, to people and to programs, and never half of it?"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from plms_pipeline.errors import BadInput, NoData, Unavailable
from plms_pipeline.monitoring import files, tables
from plms_pipeline.monitoring.actions import write_report
from plms_pipeline.monitoring.render.html import page
from plms_pipeline.monitoring.summary import BROKEN, OK, compose, verdict
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline_tests.monitoring.samples import documents, invariants

AS_OF = datetime(2026, 3, 1, 7, tzinfo=UTC)
TOTALS = {
    "receipts": 124,
    "receipts_by_source": {"metr": 124},
    "first_day": "2024-10-14",
    "last_day": "2025-01-16",
    "projects": 1,
}
NAMES = {4200: "Code-API", 4202: "Code-Docs"}


def summary(*, broken: int = 0) -> dict[str, object]:
    return compose(documents(broken=broken), night=date(2026, 3, 1), as_of=AS_OF, totals=TOTALS)


def test_the_summary_holds_the_contract_of_the_calibration_keys() -> None:
    """Programs read these keys; a renamed one breaks every dashboard in silence."""
    found = summary()
    for tree in ("calibration", "calibration_all_receipts"):
        for cell in (found[tree]["cost_usd"]["overall"], found[tree]["cost_usd"]["lanes"]["4200"]):
            assert {"n", "coverage_90", "winkler", "mae"} <= set(cell)
    assert {"winkler_prototype", "winkler_ratio"} <= set(found["calibration"]["cost_usd"]["overall"])


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (invariants(), OK),
        (invariants(broken=1), BROKEN),
        ({}, BROKEN),
        ({"summary": {"total_checks": 0, "failed_checks": 0, "status": "pass"}}, BROKEN),
        ({"summary": {"total_checks": 3, "failed_checks": 0, "status": "unknown"}}, BROKEN),
    ],
)
def test_a_night_that_proves_nothing_is_not_ok(report: dict[str, object], expected: str) -> None:
    """A crashed check that reads as green is how books rot unseen."""
    assert verdict(report) == expected


def test_the_page_is_self_contained_and_escapes_what_it_shows() -> None:
    """A provider's name is input from outside; a page that loads scripts does not open on a locked-down laptop."""
    html = page(summary(broken=1), NAMES)
    assert "<script" not in html
    assert "m&lt;script&gt;" in html
    assert "run &lt;b&gt;r1&lt;/b&gt;" in html
    assert "generated_docs.md is missing" in html
    assert " src=" not in html
    assert html.count("<svg") >= 5


def test_the_same_summary_gives_the_same_page() -> None:
    """A repeated night must not look like a change."""
    assert page(summary(), NAMES) == page(summary(), NAMES)


def test_the_terminal_shows_priors_calibration_kpis_and_invariants() -> None:
    """`make run` prints these to somebody who has not opened the page."""
    told = {title: rows for title, _, rows in tables.all_tables(summary(broken=1))}
    assert told["Priors per lane and provider (effort)"] == [
        ("4200", "m<script>", "120", "$0.2 [$0.05 – $0.9]", "1 min [0.167 min – 5 min]")
    ]
    assert ("cost_usd", "all", "120", "90.0%", "1", "0.500", "0.2") in told["One step ahead (effort)"]
    assert told["KPI gates"][0][3] == "generated_docs.md is missing"
    assert ("✗", "every_run_has_a_passport", "9/10", "run <b>r1</b>") in told["Invariants"]


def test_a_report_is_written_and_replaced(registry: Registry, settings: Settings) -> None:
    """A repeated date replaces its report: same books, same bytes."""
    first = write_report(registry, settings, as_of=AS_OF, documents=documents(broken=1))
    assert first.verdict == BROKEN
    second = write_report(registry, settings, as_of=AS_OF, documents=documents())
    before = {path.name: path.read_bytes() for path in second.page.parent.iterdir()}
    third = write_report(registry, settings, as_of=AS_OF, documents=documents())
    assert {path.name: path.read_bytes() for path in third.page.parent.iterdir()} == before
    assert set(before) == {"index.html", "summary.json", "invariants.json"}
    assert json.loads(before["summary.json"])["verdict"] == OK
    assert third.night == date(2026, 3, 1)


def test_reports_are_listed_newest_first_and_found_by_date(tmp_path: Path) -> None:
    """The on-call engineer asks for last night, not for a path."""
    for day in ("2026-02-27", "2026-03-01", "2026-02-28"):
        files.write_night(tmp_path / "nightly" / day, page="<p>", invariants={}, summary={"verdict": "ok"})
    (tmp_path / "nightly" / "notes").mkdir()
    assert [r.night.day for r in files.stored_reports(tmp_path)] == [1, 28, 27]
    assert files.find_report(tmp_path, None).night == date(2026, 3, 1)
    assert files.find_report(tmp_path, "2026-02-27").night == date(2026, 2, 27)
    with pytest.raises(NoData, match="plms nightly"):
        files.find_report(tmp_path, "2026-01-01")
    with pytest.raises(BadInput, match="YYYY-MM-DD"):
        files.find_report(tmp_path, "last")


def test_a_report_that_cannot_be_written_leaves_nothing_half_written(tmp_path: Path) -> None:
    """A full disk must not replace a good report by half of one."""
    target = tmp_path / "nightly" / "2026-03-01"
    files.write_night(target, page="old", invariants={}, summary={"verdict": "ok"})
    (target / "index.html").unlink()
    (target / "index.html").mkdir()
    with pytest.raises(Unavailable, match="PLMS_REPORTS_DIR"):
        files.write_night(target, page="new", invariants={}, summary={"verdict": "broken"})
    assert json.loads((target / "summary.json").read_text())["verdict"] == "ok"
    assert not list(target.glob(".*"))
