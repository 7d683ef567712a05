"""Is what the nights proved told under the names that dashboards read?"""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.errors import Unavailable
from plms_pipeline.monitoring.exporter.actions.others import disk
from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.files import NightReader, room
from plms_pipeline.monitoring.exporter.proven import Night, tell, time_to_fix
from plms_pipeline.monitoring.exporter.series import Samples
from plms_pipeline.settings import Settings
from plms_pipeline_tests.monitoring.exporter.worlds import nonzero, value

TODAY = date(2026, 3, 10)


def proof(day: int, *, status: str = "pass", errors: int = 0, warnings: int = 0) -> dict[str, Any]:
    return {
        "timestamp": f"2026-03-{day:02d}T07:00:00+00:00",
        "checks": {
            "every_run_has_an_id": {"violations": errors, "severity": "ERROR", "passed": not errors},
            "every_rehearsal_covers_what_it_claims": {"violations": warnings, "severity": "WARN", "passed": not warnings},
        },
        "summary": {
            "status": status, "total_violations": errors + warnings, "total_checks": 2,
            "passed_checks": 2 - bool(errors) - bool(warnings), "failed_checks": bool(errors) + bool(warnings),
        },
    }  # fmt: skip


def night(day: int, **more: Any) -> Night:
    return Night(date(2026, 3, day), proof(day, **more))


def told(*nights: Night) -> Samples:
    samples = Samples(CATALOGUE)
    tell(samples, nights, today=TODAY)
    return samples


def test_a_broken_night_is_told_with_its_rows() -> None:
    """Otherwise the page that the sources' dashboard reads is green, or counts lines instead of rows."""
    samples = told(night(10, status="fail", errors=3, warnings=2), night(9))
    for name, expected in {
        "plms_invariants_status": 0, "plms_invariants_violations_total": 5, "plms_invariants_checks_total": 2,
        "plms_invariants_checks_passed": 0, "plms_invariants_checks_failed": 2, "plms_invariants_critical_violations": 3,
        "plms_invariants_last_check_timestamp": 1_773_126_000,
    }.items():  # fmt: skip
        assert value(samples, name) == expected, name
    assert nonzero(samples, "plms_invariants_violations_by_check") == {
        ("every_run_has_an_id",): 3, ("every_rehearsal_covers_what_it_claims",): 2,
    }  # fmt: skip
    assert nonzero(samples, "plms_invariants_status_history") == {("ok",): 1, ("fail",): 1}
    assert value(told(night(10), night(9)), "plms_invariants_status") == 1


def test_nothing_proven_is_not_green() -> None:
    """Otherwise an installation whose night never ran looks as good as one whose books are right."""
    for samples in (told(), told(Night(TODAY, None))):
        assert "plms_invariants_status" not in samples.cells
        assert "plms_nightly_status" not in samples.cells
    assert nonzero(told(Night(TODAY, None)), "plms_invariants_status_history") == {("error",): 1}


def test_the_time_to_fix_counts_from_the_first_broken_night_to_the_next_clean_one() -> None:
    """Otherwise the board says how long a night took, and not how long the books were wrong."""
    nights = [night(9), night(8, status="fail"), night(5), night(4, status="fail"), night(3, status="fail"), night(2)]
    assert time_to_fix(nights) == pytest.approx((1 + 2) / 2 * 86_400)
    assert time_to_fix([night(3, status="fail"), night(2)]) is None
    assert value(told(*nights), "plms_invariants_time_to_fix_seconds") == pytest.approx(1.5 * 86_400)


def test_the_newest_night_tells_verdict_and_coverage(tmp_path: Path) -> None:
    """Otherwise intervals that no longer hold, and nights that never came, are found by chance."""
    cell = {"n": 50, "coverage_90": 0.84}
    summary = {
        "as_of": "2026-03-10T07:00:00+00:00", "verdict": "broken",
        "calibration": {"tokens": {"overall": cell, "lanes": {"4200": cell, "6101": {"n": 0}}}},
        "calibration_all_receipts": {"cost_usd": {"overall": cell, "lanes": {}}},
    }  # fmt: skip
    samples = told(Night(TODAY, proof(10), summary))
    assert value(samples, "plms_nightly_status") == 0
    assert value(samples, "plms_nightly_last_timestamp_seconds") == 1_773_126_000
    assert nonzero(samples, "plms_calibration_coverage_ratio") == {
        ("effort", "tokens", "all"): 0.84, ("effort", "tokens", "4200"): 0.84, ("spend", "cost_usd", "all"): 0.84,
    }  # fmt: skip


def test_nights_are_read_from_disk_and_again_only_when_they_changed(tmp_path: Path) -> None:
    """Otherwise sixty reports are parsed at every scrape, or a night that was repeated is never seen."""
    reader = NightReader(tmp_path)
    assert reader.nights(60) == []
    for day in (9, 10):
        folder = tmp_path / "nightly" / f"2026-03-{day:02d}"
        folder.mkdir(parents=True)
        (folder / "invariants.json").write_text(json.dumps(proof(day)))
        (folder / "summary.json").write_text(json.dumps({"verdict": "ok"}))
    (tmp_path / "nightly" / "not-a-date").mkdir()
    first = reader.nights(60)
    assert [(each.night.day, each.summary) for each in first] == [(10, {"verdict": "ok"}), (9, None)]
    assert reader.nights(60)[0].proof is first[0].proof
    newest = tmp_path / "nightly" / "2026-03-10" / "invariants.json"
    newest.write_text(json.dumps(proof(10, status="fail", errors=12)))
    assert reader.nights(60)[0].proof == proof(10, status="fail", errors=12)
    newest.write_text("{half of")
    os.utime(newest, (1, 1))
    assert reader.nights(1)[0].proof is None


def test_reports_that_cannot_be_read_are_an_outage_and_no_silence(tmp_path: Path) -> None:
    """Otherwise a mount that is gone looks like an installation without nights."""
    (tmp_path / "nightly").write_text("a file")
    with pytest.raises(Unavailable, match="PLMS_REPORTS_DIR"):
        NightReader(tmp_path).nights(1)


def test_free_space_is_told_for_places_that_are_still_to_be_made(tmp_path: Path, settings: Settings) -> None:
    """Otherwise the disk of a new installation is watched from its first report on, not before."""
    found = room(tmp_path, tmp_path / "not" / "yet")
    assert found["data"] == found["reports"]
    samples = disk(settings)
    for place in ("data", "reports", "tmp"):
        free = value(samples, "plms_disk_free_bytes", place)
        assert 0 < free <= value(samples, "plms_disk_size_bytes", place)
