from __future__ import annotations

import hashlib
import json
import threading
from datetime import date, timedelta

import numpy as np
import pytest
from sqlalchemy import func, select

from plms_pipeline.clock import FrozenClock
from plms_pipeline.estimates.actions.believing import summarise_stale_days
from plms_pipeline.estimates.actions.calibration import (
    calibration_dataset,
    run_backtest,
    scan_start,
    write_priors,
)
from plms_pipeline.registry.tables import EstimateVersion, IntervalCorrection
from plms_pipeline_tests.estimates.conftest import NOON, Book

LATER = NOON + timedelta(days=30)


def fill(book: Book, n: int = 30) -> None:
    rng = np.random.default_rng(1)
    for i in range(n):
        verdict = "passed" if i % 3 else "failed"
        book.add(
            f"m{i % 2}", f"{np.exp(rng.standard_normal()):.6f}", lane=4200 + i % 2, at=NOON + timedelta(hours=5 * i),
            took=timedelta(minutes=int(rng.integers(1, 60))), validation=verdict,
        )  # fmt: skip


def versions(book: Book) -> list[EstimateVersion]:
    with book.registry.reading() as session:
        return list(session.scalars(select(EstimateVersion).order_by(EstimateVersion.id)))


def test_the_dataset_counts_what_teaches_and_names_the_rule_that_excludes(book: Book) -> None:
    """People ask first why their run did not count."""
    book.add("m", "1.0")
    book.add("m", "1.0", run_kind="rehearsal")
    book.add("m", "1.0", validation="failed")
    book.add("m", "1.0", run_kind="replay", write_sandbox=True)
    found = calibration_dataset(book.registry, as_of=LATER, alpha=0.3).document()
    assert found["receipts"] == 4
    assert found["included"] == {"effort": 1, "spend": 2}
    assert found["excluded"] == {"effort": {"real_run": 2, "judged_good": 1}, "spend": {"real_run": 2}}
    assert found["cells"] == [{"lane_id": 4200, "provider": "m", "effort": 1, "spend": 2}]
    assert found["stale_days"] == ["2026-02-01"]


@pytest.mark.live
def test_priors_are_versions_that_are_written_only_when_their_numbers_differ(book: Book, clock: FrozenClock) -> None:
    """Append-only history is readable only if a quiet night adds nothing to it."""
    fill(book)
    first = write_priors(book.registry, as_of=LATER, alpha=0.3, clock=clock)
    assert first.written == len(first.priors) == len(versions(book))
    assert write_priors(book.registry, as_of=LATER + timedelta(days=1), alpha=0.3, clock=clock).written == 0
    book.add("m0", "9.0", at=NOON + timedelta(days=20))
    again = write_priors(book.registry, as_of=LATER + timedelta(days=2), alpha=0.3, clock=clock)
    assert again.written > 0
    newest = [row for row in versions(book) if row.version == 2]
    assert len(newest) == again.written
    for row in versions(book):
        assert row.priors_hash == hashlib.sha256(row.priors_json.encode()).hexdigest()
        assert row.n_observations > 0
        assert row.validation_pass is (True if row.basis == "effort" else None)
        assert row.provider == row.provider_name


@pytest.mark.live
def test_there_is_a_prior_at_every_level_and_its_json_is_the_distribution(book: Book, clock: FrozenClock) -> None:
    """A new provider or lane is forecast from these; the columns of the sources stand beside them."""
    fill(book)
    write_priors(book.registry, as_of=LATER, alpha=0.3, clock=clock)
    keys = {(row.lane_id, row.provider_name, row.basis): row for row in versions(book)}
    assert {(4200, "m0", "effort"), (None, "m0", "spend"), (4201, "*", "effort"), (None, "*", "spend")} <= set(keys)
    body = json.loads(keys[4200, "m0", "spend"].priors_json)
    assert set(body) == {"attempts_per_task", "cost_usd", "duration_ms"}
    quantiles = body["cost_usd"]["quantiles"]
    assert len(quantiles) == 39
    assert quantiles == sorted(quantiles)
    row = keys[4200, "m0", "spend"]
    assert float(row.cost_usd_mean or 0) == pytest.approx(body["cost_usd"]["mean"], abs=1e-6)
    assert row.tokens_mean is None


@pytest.mark.live
def test_a_night_for_the_past_does_not_move_beliefs_backwards(book: Book, clock: FrozenClock) -> None:
    """`plms nightly --date` repeats a report; it must not replace what was learnt since."""
    fill(book)
    write_priors(book.registry, as_of=LATER, alpha=0.3, clock=clock)
    before = len(versions(book))
    past = write_priors(book.registry, as_of=NOON + timedelta(days=2), alpha=0.3, clock=clock)
    assert past.written == 0
    assert len(versions(book)) == before
    assert max(prior.n for prior in past.priors) < 30


@pytest.mark.live
def test_the_backtest_reports_both_bases_and_stores_the_corrections_of_its_day(book: Book) -> None:
    """The report is the proof; the corrections are what settlement uses until the next night."""
    fill(book)
    found = run_backtest(book.registry, as_of=LATER, alpha=0.3).document()
    assert found["calibration"]["cost_usd"]["overall"]["n"] == 20
    assert found["calibration_all_receipts"]["duration_ms"]["overall"]["n"] == 30
    assert set(found["calibration"]["cost_usd"]["lanes"]) == {"4200", "4201"}
    run_backtest(book.registry, as_of=LATER, alpha=0.3)
    with book.registry.reading() as session:
        rows = list(session.scalars(select(IntervalCorrection)))
    assert len(rows) == 2 * 2 * 2
    assert {row.day for row in rows} == {LATER.date()}


@pytest.mark.live
def test_two_nights_at_once_give_what_one_gives(book: Book, clock: FrozenClock) -> None:
    """Two schedulers, or a night and a person: no duplicate version, no half-written day."""
    fill(book, 12)
    errors: list[BaseException] = []

    def night() -> None:
        try:
            list(summarise_stale_days(book.registry, alpha=0.3))
            run_backtest(book.registry, as_of=LATER, alpha=0.3)
            write_priors(book.registry, as_of=LATER, alpha=0.3, clock=clock)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=night) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with book.registry.reading() as session:
        assert session.scalar(select(func.max(EstimateVersion.version))) == 1
        keys = select(EstimateVersion.lane_id, EstimateVersion.provider_name, EstimateVersion.basis)
        found = list(session.execute(keys))
    assert len(found) == len(set(found))
    assert write_priors(book.registry, as_of=LATER, alpha=0.3, clock=clock).written == 0


def test_errors_of_the_backtest_stand_beside_the_priors(book: Book, clock: FrozenClock) -> None:
    """Guide 000 reads mean_absolute_error from the prior's row."""
    fill(book)
    found = run_backtest(book.registry, as_of=LATER, alpha=0.3).document()
    write_priors(book.registry, as_of=LATER, alpha=0.3, clock=clock, errors=found)
    (row,) = [row for row in versions(book) if (row.lane_id, row.provider_name, row.basis) == (None, "*", "spend")]
    overall = found["calibration_all_receipts"]["cost_usd"]["overall"]
    assert float(row.mean_absolute_error_cost_usd or 0) == pytest.approx(overall["mae"], abs=1e-6)


def test_an_empty_registry_gives_empty_documents(book: Book, clock: FrozenClock) -> None:
    """The first night of a new installation has nothing to learn from and must not fail."""
    assert calibration_dataset(book.registry, as_of=LATER, alpha=0.3).document()["receipts"] == 0
    assert run_backtest(book.registry, as_of=LATER, alpha=0.3).document()["calibration"] == {}
    assert write_priors(book.registry, as_of=LATER, alpha=0.3, clock=clock).document()["priors"] == []


def test_the_scan_takes_whole_days_from_the_newest_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A night over years of history must cost what the newest receipts cost."""
    from plms_pipeline.estimates.actions import calibration

    monkeypatch.setattr(calibration, "SCANNED_RECEIPTS", 100)
    days = [(date(2026, 1, 1 + i), 40) for i in range(5)]
    assert scan_start(days) == date(2026, 1, 4)
    assert scan_start([(date(2026, 1, 1), 1000)]) == date(2026, 1, 1)
    assert scan_start([]) is None


def test_a_scan_of_part_of_the_history_rests_on_the_rest(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was folded away must still be known: the forecasts of the scanned days are the same."""
    from plms_pipeline.estimates.actions import calibration

    fill(book)
    whole = run_backtest(book.registry, as_of=LATER, alpha=0.3).found["spend", "cost_usd"]
    monkeypatch.setattr(calibration, "SCANNED_RECEIPTS", 12)
    part = run_backtest(book.registry, as_of=LATER, alpha=0.3).found["spend", "cost_usd"]
    n = part.outcomes.value.size
    assert 0 < n < 30
    np.testing.assert_array_equal(part.outcomes.value, whole.outcomes.value[-n:])
    uncorrected = [found.quantiles[-n:, 19] for found in (whole, part)]
    np.testing.assert_allclose(*uncorrected, rtol=1e-9)
