"""Does the report say what the documents say, to people and to programs, and never half of it?"""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import update

from plms_pipeline.errors import BadInput, NoData, Unavailable
from plms_pipeline.estimates.actions.calibration import calibration_dataset
from plms_pipeline.measures import BASES
from plms_pipeline.monitoring import files, store, tables
from plms_pipeline.monitoring.actions import write_report
from plms_pipeline.monitoring.attention import SHOWN, attention
from plms_pipeline.monitoring.render.html import SHOWN_PRIORS, page
from plms_pipeline.monitoring.summary import BROKEN, NO_DATA, OK, Documents, compose, verdict
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project
from plms_pipeline.settings import Settings
from plms_pipeline_tests.estimates.conftest import NOON, Book
from plms_pipeline_tests.monitoring.samples import CELL, DATASET, OVERALL, documents, invariants

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


@cache
def shown(*, broken: int = 0) -> str:
    """The page of a night, drawn once."""
    return page(summary(broken=broken), NAMES)


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
        ({"summary": {"total_checks": 47, "failed_checks": 0, "status": "no_data"}}, NO_DATA),
        ({"summary": {"total_checks": 47, "failed_checks": 1, "status": "no_data"}}, BROKEN),
        ({}, BROKEN),
        ({"summary": {"total_checks": 0, "failed_checks": 0, "status": "pass"}}, BROKEN),
        ({"summary": {"total_checks": 3, "failed_checks": 0, "status": "unknown"}}, BROKEN),
    ],
)
def test_a_night_that_proves_nothing_is_not_ok(report: dict[str, object], expected: str) -> None:
    """A crashed check that reads as green is how books rot unseen."""
    assert verdict(report, receipts=124) == expected


def test_a_night_that_rests_on_no_receipts_has_no_data() -> None:
    """An empty registry is neither broken, which would wake somebody, nor ok, which would be believed."""
    assert verdict(invariants(), receipts=0) == NO_DATA
    assert verdict(invariants(broken=1), receipts=0) == BROKEN


def test_the_page_is_self_contained_and_escapes_what_it_shows() -> None:
    """A provider's name is input from outside; a page that loads scripts does not open on a locked-down laptop."""
    html = shown(broken=1)
    assert "<script" not in html
    assert "m&lt;script&gt;" in html
    assert "run &lt;b&gt;r1&lt;/b&gt;" in html
    assert "generated_docs.md is missing" in html
    assert " src=" not in html
    assert html.count("<svg") >= 5


def test_the_page_counts_what_was_left_out_per_basis_and_rule() -> None:
    """The table looped one level short and printed dictionaries to people."""
    html = shown()
    assert "{&#39;" not in html
    row = r"<td>left out by <code>{}</code></td><td>{}</td><td>{}</td>"
    for rule, effort, spend in (("judged_good", 4, 0), ("real_run", 2, 2)):
        assert re.search(row.format(rule, effort, spend), html)
    assert re.search(r"<b>counted</b></td><td><b>118</b></td><td><b>122</b></td>", html)


def test_the_samples_dataset_has_the_shape_of_the_real_one(registry: Registry) -> None:
    """A test against an invented shape is how the broken table passed."""
    book = Book(registry)
    book.add()
    book.add(validation="failed")
    real = calibration_dataset(registry, as_of=AS_OF, alpha=0.3).document()
    assert set(DATASET) == set(real)
    assert all(set(DATASET[key]) == set(real[key]) == set(BASES) for key in ("included", "excluded", "tasks"))
    assert all(isinstance(n, int) for rules in real["excluded"].values() for n in rules.values())


def test_the_first_screenful_says_what_is_broken_and_what_to_do() -> None:
    """At three in the morning nobody reads eight tables to find the one red cell."""
    html = shown(broken=2)
    head = html[: html.index('class="cards"')]
    assert "What to do now" in head
    assert "every_run_has_a_passport is broken (2 rows)" in head
    assert "Import its file again." in head
    assert "1 of 1 artifacts fail their KPI gates" in head
    calm = page(compose(quiet(), night=date(2026, 3, 1), as_of=AS_OF, totals=TOTALS), NAMES)
    assert "Nothing is wrong; nothing to do." in calm


def quiet() -> Documents:
    return replace(documents(), kpi_evaluations={"artifacts": []})


def test_what_is_broken_comes_before_what_can_wait() -> None:
    """The list is cut; what wakes people must not be below the cut."""
    found = attention(summary(broken=1))
    assert [item.is_urgent for item in found] == [True, False]
    cells = {str(lane): {**CELL, "coverage_90": 0.5} for lane in range(4200, 4220)}
    tree = {"cost_usd": {"overall": OVERALL, "lanes": cells}}
    backtest = {"calibration": tree, "calibration_all_receipts": tree}
    noisy = replace(documents(broken=1), calibration_backtest=backtest)
    many = attention(compose(noisy, night=date(2026, 3, 1), as_of=AS_OF, totals=TOTALS))
    assert many[0].is_urgent
    assert len(many) == SHOWN + 1
    assert many[-1].what == "and 14 more"


@pytest.mark.parametrize(
    ("coverage", "n", "said"),
    [(0.84, 120, "too narrow"), (0.96, 120, "too wide"), (0.84, 99, ""), (0.85, 120, ""), (0.95, 120, "")],
)
def test_a_lane_outside_its_promise_is_named(coverage: float, n: int, said: str) -> None:
    """Too narrow means budgets that run dry; with few forecasts the share says nothing yet."""
    tree = {"cost_usd": {"overall": OVERALL, "lanes": {"4200": {**CELL, "coverage_90": coverage, "n": n}}}}
    made = replace(quiet(), calibration_backtest={"calibration": tree, "calibration_all_receipts": {}})
    found = attention(compose(made, night=date(2026, 3, 1), as_of=AS_OF, totals=TOTALS))
    assert [item.what for item in found] == ([f"cost intervals (effort, lane 4200) are {said}"] if said else [])


def test_a_night_without_data_says_how_to_get_some() -> None:
    """The first page that a new user opens."""
    empty = replace(quiet(), priors={"priors": []}, calibration_backtest={}, calibration_dataset={}, kpi_pass_rates={},
                    invariants_report={"summary": {"total_checks": 2, "failed_checks": 0, "status": "no_data"}})  # fmt: skip
    totals = {"receipts": 0, "receipts_by_source": {}, "first_day": None, "last_day": None, "projects": 0}
    html = page(compose(empty, night=date(2026, 3, 1), as_of=AS_OF, totals=totals), {})
    assert "no data" in html
    assert "plms import swebench FILE" in html
    assert "are broken" not in html


@pytest.mark.live
def test_broken_invariants_come_first_and_what_is_not_drawn_is_said() -> None:
    """A red row among fifty green ones, and a model that is missing in the chart, were both left for the reader to find."""
    made = summary(broken=1)
    checks = made["invariants"]["checks"]
    checks["a_sentence_that_holds"] = {**checks["run_kind_is_known"]}
    html = page(made, NAMES)
    rows = re.findall(r"[✓✗]</span> (\w+)", html)
    assert rows == ["every_run_has_a_passport", "a_sentence_that_holds", "run_kind_is_known"]
    assert "are drawn" not in html
    made["priors"] = [{**made["priors"][0], "provider": f"m{n}"} for n in range(SHOWN_PRIORS + 3)]
    assert "</code> holds 3 more" in page(made, NAMES)


@pytest.mark.live
def test_a_night_that_ran_later_says_what_is_of_now(sqlite_registry: Registry, settings: Settings) -> None:
    """`--date` of last year showed today's artifacts and proofs as if they were of that night."""
    late = write_report(
        sqlite_registry, settings, as_of=AS_OF, documents=documents(), ran_at=AS_OF + timedelta(days=30)
    )
    assert json.loads(late.summary.read_text())["ran_late"] is True
    html = late.page.read_text()
    assert "This night was run later than its instant." in html
    assert "KPI gates, as of when the night was run" in html
    on_time = write_report(
        sqlite_registry, settings, as_of=AS_OF, documents=documents(), ran_at=AS_OF + timedelta(minutes=5)
    )
    assert json.loads(on_time.summary.read_text())["ran_late"] is False
    assert "run later" not in on_time.page.read_text()


def test_a_project_counts_from_its_first_run_not_from_its_import(registry: Registry) -> None:
    """A past night counted no project at all, because their rows were made on the day of the import."""
    Book(registry).add(at=NOON)
    with registry.writing() as session:
        session.execute(update(Project).values(created_at=NOON + timedelta(days=300)))
    with registry.reading() as session:
        assert store.totals(session, as_of=NOON)["projects"] == 1
        assert store.totals(session, as_of=NOON - timedelta(days=1))["projects"] == 0


def test_every_wide_thing_scrolls_in_its_own_box() -> None:
    """On a phone the tables were cut at the right edge with no hint that there was more."""
    html = shown(broken=1)
    boxes = html.split('<div class="scroll"')[1:]
    inside = [box[: box.index("</div>")] for box in boxes]
    assert sum(box.count("<table") for box in inside) == html.count("<table")
    assert sum(box.count("<svg") for box in inside) == html.count("<svg")
    assert html.count('class="hint') == len(boxes)


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


@pytest.mark.live
def test_a_report_is_written_and_replaced(registry: Registry, settings: Settings) -> None:
    """A repeated date replaces its report: same books, same bytes."""
    Book(registry).add(at=AS_OF - timedelta(days=1))
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
    with pytest.raises(NoData, match=r"plms nightly --date 2026-01-01.*the newest is of 2026-03-01"):
        files.find_report(tmp_path, "2026-01-01")
    for text in ("last", "20260301"):
        with pytest.raises(BadInput, match="YYYY-MM-DD"):
            files.find_report(tmp_path, text)
    with pytest.raises(NoData, match="`plms nightly` writes one"):
        files.find_report(tmp_path / "new", "2026-03-01")


def test_a_report_that_cannot_be_written_leaves_nothing_half_written(tmp_path: Path) -> None:
    """A full disk must not replace a good report by half of one."""
    target = tmp_path / "nightly" / "2026-03-01"
    files.write_night(target, page="old", invariants={}, summary={"verdict": "ok"})
    (target / "index.html").unlink()
    (target / "index.html").mkdir()
    with pytest.raises(BadInput, match="PLMS_REPORTS_DIR"):
        files.write_night(target, page="new", invariants={}, summary={"verdict": "broken"})
    assert json.loads((target / "summary.json").read_text())["verdict"] == "ok"
    assert not list(target.glob(".*"))


def test_a_full_disk_is_an_outage_and_a_wrong_folder_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is retried three times must be what may get better by itself."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="free space"):
        files.write_atomically(tmp_path / "index.html", "x")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="PLMS_REPORTS_DIR"):
        files.write_atomically(tmp_path / "file" / "index.html", "x")


def test_a_file_in_the_place_of_the_reports_is_named_before_anything_is_done(tmp_path: Path) -> None:
    """The night found it out in its last step, after three tries."""
    (tmp_path / "file").touch()
    for reports in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(BadInput, match="PLMS_REPORTS_DIR"):
            files.require_writable(reports)
        with pytest.raises(BadInput, match="PLMS_REPORTS_DIR"):
            files.stored_reports(reports)
    files.require_writable(tmp_path / "new")
    assert list((tmp_path / "new" / "nightly").iterdir()) == []
    assert files.stored_reports(tmp_path / "nothing") == []
