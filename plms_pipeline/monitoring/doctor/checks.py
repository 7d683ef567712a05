"""Given what was found on this machine, what is right, what needs attention, and what is the remedy?

Each function judges one finding and answers with one line. A doctor that only says "FAIL" moves the work to the person on
call; a line that is not ok therefore always carries what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

NIGHT_IS_LATE_AFTER: Final = timedelta(hours=26)
CLOCK_TOLERANCE: Final = timedelta(seconds=60)
OLDEST_PYTHON: Final = (3, 11)


class Level(StrEnum):
    """How bad it is. Only `FAIL` makes the command exit 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the doctor's answer; `remedy` is empty when nothing is to be done."""

    name: str
    level: Level
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Night:
    """The newest nightly report on disk: its date, its instant, and its verdict (None when it cannot be read)."""

    date: date
    as_of: datetime | None
    verdict: str | None


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that verify tokens, as found: how many, or why they cannot be used. `is_own`: made here, so with their private
    half. `open_to` names what has wider rights than it should, empty when nothing has."""

    path: str
    is_own: bool = True
    is_missing: bool = False
    problem: str = ""
    open_to: str = ""
    is_folder_open: bool = False
    n: int = 0


@dataclass(frozen=True, slots=True)
class Books:
    """What the registry answered: its schema and the newest moments in it; `problem` when it did not answer."""

    is_missing: bool = False
    problem: str = ""
    revision: str | None = None
    head: str = ""
    differences: Sequence[str] = ()
    newest_completed_at: datetime | None = None
    newest_recorded_at: datetime | None = None
    unread_sources: Sequence[tuple[str, str]] = ()


def python(version: tuple[int, int, int]) -> Line:
    """The interpreter is new enough."""
    text = ".".join(map(str, version))
    if version[:2] >= OLDEST_PYTHON:
        return Line("python", Level.OK, text)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Line(
        "python", Level.FAIL, f"{text} is older than {oldest}", "make clean && make setup PYTHON=/path/to/python3.11"
    )


def lock(differences: Sequence[str] | None, total: int) -> Line:
    """What is installed is what requirements.lock says; `differences` is None where there is no lock to compare with."""
    if differences is None:
        return Line(
            "lock", Level.WARN, "no requirements.lock beside this installation",
            "install from a checkout with `make setup` to run the tested versions",
        )  # fmt: skip
    if not differences:
        return Line("lock", Level.OK, f"{total} packages as locked")
    shown = "; ".join(differences[:3]) + (f"; and {len(differences) - 3} more" if len(differences) > 3 else "")
    return Line("lock", Level.FAIL, shown, "touch requirements.lock && make setup")


def database(books: Books, name: str) -> Line:
    """The registry answers and is at the newest revision. `name` is its masked URL."""
    if books.is_missing:
        return Line("database", Level.FAIL, f"{name} does not exist yet", "plms db upgrade")
    if books.problem:
        return Line("database", Level.FAIL, books.problem, "plms db upgrade, once PLMS_DATABASE_URL points at it")
    if books.revision != books.head:
        return Line(
            "database", Level.FAIL, f"{name} is at revision {books.revision or 'none'}, this program needs {books.head}",
            "plms db upgrade",
        )  # fmt: skip
    if books.differences:
        return Line(
            "database", Level.FAIL, f"{name} differs from its revision: {books.differences[0]}",
            "undo what was changed by hand; plms db check lists every difference",
        )  # fmt: skip
    return Line("database", Level.OK, f"{name} at head ({books.head})")


def alerts(books: Books) -> Line:
    """Everything that alerts look at can be looked at, their own files included."""
    if books.is_missing or books.problem or books.revision != books.head:
        return Line(
            "alerts", Level.WARN, "nobody can say while the registry does not", "see the line about the database"
        )
    if not books.unread_sources:
        return Line("alerts", Level.OK, "every source that was looked at is read")
    shown = "; ".join(f"{source}: {why[:200]}" for source, why in books.unread_sources[:3])
    more = len(books.unread_sources) - 3
    return Line(
        "alerts", Level.WARN, shown + (f"; and {more} more" if more > 0 else ""),
        "correct what it names (a file is taken up without a restart); plms alerts list shows all",
    )  # fmt: skip


def dagster_home(
    path: str, *, exists: bool, is_default: bool, problem: str, state_path: str = "", state_problem: str = ""
) -> Line:
    """`dagster.yaml` is there, its storage can be written and Dagster loads it.

    Args:
        path: the instance's `dagster.yaml`.
        exists: whether it is there.
        is_default: whether it is the checkout's own.
        problem: what a fresh process said that tried to load it.
        state_path: the folder of everything that Dagster stores.
        state_problem: why that cannot be written.
    """
    if state_problem:
        return Line(
            "dagster home", Level.FAIL, f"{state_path} cannot be written ({state_problem})",
            f"move {state_path} away if it is no folder, else chown or chmod it for the account that runs plms",
        )  # fmt: skip
    if not exists and not is_default:
        return Line(
            "dagster home",
            Level.WARN,
            f"{path} is not written yet",
            "nothing to do: the first `plms nightly` or `plms ui` does",
        )
    if not exists:
        return Line("dagster home", Level.FAIL, f"{path} is missing", "git checkout dagster.yaml")
    if problem:
        return Line(
            "dagster home", Level.FAIL, f"{path} does not load: {problem}",
            "git checkout dagster.yaml" if is_default else f"remove {path}; the next command writes it anew",
        )  # fmt: skip
    return Line("dagster home", Level.OK, path)


def last_night(night: Night | None, now: datetime) -> Line:
    """The newest report is a day old at most, and says that the books are right."""
    if night is None:
        return Line("last night", Level.WARN, "no nightly report yet", "plms nightly")
    if night.as_of is None or night.verdict is None:
        return Line(
            # Not `--date`: the night of today's date may be still to come, and a new night is what is wanted anyway.
            "last night",
            Level.FAIL,
            f"the summary of {night.date} cannot be read",
            "plms nightly",
        )
    if night.verdict == "no_data":
        return Line(
            "last night", Level.WARN, f"{night.date} rests on no receipts",
            "plms import swebench FILE (plms import --help names the other forms), then plms nightly",
        )  # fmt: skip
    if night.verdict != "ok":
        return Line(
            "last night", Level.FAIL, f"{night.date} says {night.verdict}",
            "plms invariants names every offender; plms report open shows the night",
        )  # fmt: skip
    age = now - night.as_of
    if age > NIGHT_IS_LATE_AFTER:
        return Line(
            "last night", Level.WARN, f"{night.date} is {age.days} days and {age.seconds // 3600} hours old",
            "plms nightly; for every night keep `plms ui` running, whose daemon starts it at 02:00 New York",
        )  # fmt: skip
    return Line("last night", Level.OK, f"{night.date}: {night.verdict}")


def disk(name: str, path: str, free_mb: int | None, minimum_mb: int) -> Line:
    """There is room for the next night."""
    if free_mb is None:
        return Line(name, Level.FAIL, f"the free space at {path} cannot be read", "check that the disk is mounted")
    if free_mb < minimum_mb:
        return Line(
            name, Level.FAIL, f"{free_mb} MiB free at {path}, {minimum_mb} MiB wanted",
            "free some space, or set PLMS_MIN_FREE_DISK_MB to what you can live with",
        )  # fmt: skip
    return Line(name, Level.OK, f"{free_mb} MiB free at {path}")


def clock(now: datetime, file_time: datetime | None, books: Books) -> Line:
    """The clock agrees with the file system's, and nothing in the books is from the future."""
    remedy = "set the clock (timedatectl, chronyc tracking); nights and forecasts trust it"
    if file_time is not None and abs(file_time - now) > CLOCK_TOLERANCE:
        return Line(
            "clock", Level.FAIL, f"the file system says {file_time:%Y-%m-%d %H:%M:%S} UTC, the clock {now:%Y-%m-%d %H:%M:%S}",
            remedy,
        )  # fmt: skip
    for what, moment in (("completed", books.newest_completed_at), ("was recorded", books.newest_recorded_at)):
        if moment is not None and moment > now + CLOCK_TOLERANCE:
            return Line(
                "clock", Level.FAIL, f"the newest receipt {what} at {moment:%Y-%m-%d %H:%M:%S} UTC, which is still to come",
                remedy,
            )  # fmt: skip
    return Line("clock", Level.OK, f"{now:%Y-%m-%d %H:%M:%S} UTC")


def rights(name: str, path: str, problem: str) -> Line:
    """A folder can be written; `problem` is why not, as the operating system put it."""
    if not problem:
        return Line(name, Level.OK, path)
    return Line(
        name, Level.FAIL, f"{path} cannot be written ({problem})",
        f"chown or chmod it for the account that runs plms, or set {name} to a folder that may be written",
    )  # fmt: skip


def token_keys(found: Keys, *, is_asked: bool) -> Line:
    """The keys that verify tokens are there, can be read, and by whom they must not be they cannot.

    Args:
        found: what lies where the keys are looked for.
        is_asked: whether anybody's token is verified at all (PLMS_AUTH=jwt).
    """
    name = "token keys"
    if not is_asked:
        return Line(name, Level.OK, "not used: PLMS_AUTH=disabled")
    if found.is_missing and found.is_own:
        return Line(
            name, Level.WARN, f"none at {found.path} yet: the API refuses everybody",
            "plms token keys; or PLMS_JWT_PUBLIC_KEYS, when somebody else issues the tokens",
        )  # fmt: skip
    if found.is_missing:
        return Line(
            name, Level.FAIL, f"{found.path} does not exist: the API refuses everybody",
            "put the issuer's JWK set there, or set PLMS_JWT_PUBLIC_KEYS to where it is",
        )  # fmt: skip
    if found.open_to:
        right, mode = ("700" if found.is_folder_open else "600", "read") if found.is_own else ("go-w", "changed")
        rotate = " && plms token keys --rotate" if found.is_own else ""
        return Line(
            name, Level.FAIL, f"{found.open_to} may be {mode} by others", f"chmod {right} {found.open_to}{rotate}"
        )
    if found.problem:
        remedy = (
            "chown it to the account that runs plms; if it is damaged, move it away and run plms token keys"
            if found.is_own
            else "ask the issuer for its JWK set with RSA keys, or set PLMS_JWT_PUBLIC_KEYS to it"
        )
        return Line(name, Level.FAIL, found.problem, remedy)
    keys = "1 key" if found.n == 1 else f"{found.n} keys"
    return Line(name, Level.OK, f"{keys} at {found.path}")


def is_healthy(lines: Sequence[Line]) -> bool:
    """Whether no line fails; warnings are for people."""
    return all(line.level is not Level.FAIL for line in lines)
