"""Does each line judge rightly, and does every line that is not ok say what to do?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from plms_pipeline.monitoring.doctor import checks
from plms_pipeline.monitoring.doctor.checks import Books, Keys, Level, Line, Night, is_healthy

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HEALTHY = Books(revision="0003", head="0003", newest_completed_at=NOW, newest_recorded_at=NOW)


def night(*, hours_ago: float = 5, verdict: str | None = "ok") -> Night:
    return Night(date(2026, 3, 2), NOW - timedelta(hours=hours_ago), verdict)


EXPECTED = {
    "a supported Python": (checks.python((3, 13, 0)), Level.OK),
    "the oldest supported Python": (checks.python((3, 11, 0)), Level.OK),
    "an old Python": (checks.python((3, 10, 9)), Level.FAIL),
    "an old Python with large minor parts": (checks.python((2, 99, 99)), Level.FAIL),
    "locked packages": (checks.lock([], 130), Level.OK),
    "a wrong package": (checks.lock(["numpy is 1.0, locked 2.0"], 130), Level.FAIL),
    "no lock": (checks.lock(None, 0), Level.WARN),
    "keys for tokens": (checks.token_keys(Keys("k", n=2), is_asked=True), Level.OK),
    "no keys yet": (checks.token_keys(Keys("k", is_missing=True), is_asked=True), Level.WARN),
    "no keys of the issuer": (checks.token_keys(Keys("k", is_own=False, is_missing=True), is_asked=True), Level.FAIL),
    "keys that others may read": (checks.token_keys(Keys("k", open_to="k"), is_asked=True), Level.FAIL),
    "keys that others may change": (checks.token_keys(Keys("k", is_own=False, open_to="k"), is_asked=True), Level.FAIL),
    "keys that cannot be read": (checks.token_keys(Keys("k", problem="no"), is_asked=True), Level.FAIL),
    "keys that nobody asks for": (checks.token_keys(Keys("k", is_missing=True), is_asked=False), Level.OK),
    "a database at head": (checks.database(HEALTHY, "db"), Level.OK),
    "no database yet": (checks.database(Books(is_missing=True), "db"), Level.FAIL),
    "an old database": (checks.database(Books(revision="0001", head="0003"), "db"), Level.FAIL),
    "an empty database": (checks.database(Books(revision=None, head="0003"), "db"), Level.FAIL),
    "a changed database": (
        checks.database(Books(revision="0003", head="0003", differences=["remove_index x"]), "db"),
        Level.FAIL,
    ),
    "a database that is away": (checks.database(Books(problem="does not answer"), "db"), Level.FAIL),
    "Dagster's home": (checks.dagster_home("/h", exists=True, is_default=True, problem=""), Level.OK),
    "a home that does not load": (checks.dagster_home("/h", exists=True, is_default=False, problem="no"), Level.FAIL),
    "a default home that is gone": (checks.dagster_home("/h", exists=False, is_default=True, problem=""), Level.FAIL),
    "a home that is not made yet": (checks.dagster_home("/h", exists=False, is_default=False, problem=""), Level.WARN),
    "a home of which the storage is a file": (
        checks.dagster_home(
            "/h/d.yaml", exists=True, is_default=True, problem="", state_path="/h", state_problem="no folder"
        ),
        Level.FAIL,
    ),
    "a night without data": (checks.last_night(night(verdict="no_data"), NOW), Level.WARN),
    "last night": (checks.last_night(night(), NOW), Level.OK),
    "a night of 26 hours ago": (checks.last_night(night(hours_ago=26), NOW), Level.OK),
    "a missed night": (checks.last_night(night(hours_ago=26.1), NOW), Level.WARN),
    "no night yet": (checks.last_night(None, NOW), Level.WARN),
    "a broken night": (checks.last_night(night(verdict="broken"), NOW), Level.FAIL),
    "an unreadable night": (checks.last_night(night(verdict=None), NOW), Level.FAIL),
    "enough space": (checks.disk("disk", "/d", 1024, 1024), Level.OK),
    "too little space": (checks.disk("disk", "/d", 1023, 1024), Level.FAIL),
    "unknown space": (checks.disk("disk", "/d", None, 1024), Level.FAIL),
    "a right clock": (checks.clock(NOW, NOW - timedelta(seconds=30), HEALTHY), Level.OK),
    "a clock without a file system": (checks.clock(NOW, None, Books()), Level.OK),
    "a clock that is ahead": (checks.clock(NOW, NOW - timedelta(minutes=2), HEALTHY), Level.FAIL),
    "a clock that is behind": (checks.clock(NOW, NOW + timedelta(minutes=2), HEALTHY), Level.FAIL),
    "a receipt of the future": (
        checks.clock(NOW, NOW, Books(newest_completed_at=NOW + timedelta(hours=1))),
        Level.FAIL,
    ),
    "a clock that was set back": (
        checks.clock(NOW, NOW, Books(newest_recorded_at=NOW + timedelta(days=1))),
        Level.FAIL,
    ),
    "a writable folder": (checks.rights("PLMS_DATA_DIR", "/d", ""), Level.OK),
    "a folder of others": (checks.rights("PLMS_DATA_DIR", "/d", "Permission denied"), Level.FAIL),
}


@pytest.mark.parametrize(("line", "level"), EXPECTED.values(), ids=EXPECTED)
def test_each_finding_is_judged(line: Line, level: Level) -> None:
    """A false FAIL wakes somebody, a false ok lets the night fail."""
    assert line.level is level


@pytest.mark.parametrize(("line", "level"), EXPECTED.values(), ids=EXPECTED)
def test_what_is_not_ok_comes_with_its_remedy(line: Line, level: Level) -> None:
    """At three in the morning a diagnosis without a next step is a riddle."""
    assert bool(line.remedy) == (level is not Level.OK)
    assert line.detail
    assert "\n" not in line.detail + line.remedy


def test_many_wrong_packages_stay_one_line() -> None:
    """After a failed upgrade a hundred packages differ; the reader needs to know that, not each of them."""
    line = checks.lock([f"p{n} is missing" for n in range(100)], 130)
    assert "p2 is missing; and 97 more" in line.detail


@pytest.mark.parametrize("verdict", [None, "broken", "no_data"])
def test_no_remedy_is_a_command_that_is_refused(verdict: str | None) -> None:
    """`plms nightly --date <today>` is refused until two in the morning in New York: a remedy that fails is worse than none."""
    assert "--date" not in checks.last_night(night(verdict=verdict), NOW).remedy


def test_warnings_do_not_make_an_installation_unhealthy() -> None:
    """A fresh installation has had no night yet; that must not page anybody."""
    ok, warn, fail = (Line("x", level, "y") for level in Level)
    assert is_healthy([ok, warn])
    assert not is_healthy([ok, warn, fail])
