"""What do others' programs do for a backup? PostgreSQL's own dump and restore, and the proof of the restored books.

The proof is `plms invariants --full` in a process of its own: the very command that a person would type, on the restored
installation and with nothing in memory of the one that restored it. A password goes to PostgreSQL's programs by the
environment: arguments are seen by everybody on the machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plms_pipeline.errors import Unavailable
from plms_pipeline.registry.engine import checked_url
from plms_pipeline.settings import Settings

PROVE_TIMEOUT_S: Final = 3600
_VERSION: Final = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the invariants say of restored books.

    Attributes:
        word: `hold`, `broken`, `empty` (nothing is proven) or `unknown` (they could not be asked).
        checked: how many invariants were asked.
        broken: the names of those that do not hold.
        reason: why nothing is known, else empty.
    """

    word: str
    checked: int = 0
    broken: tuple[str, ...] = ()
    reason: str = ""


def find_tool(name: str, bin_dir: Path | None, *, server_major: int) -> str:
    """The path of `pg_dump` or `pg_restore`, of at least the server's major version.

    Raises:
        Unavailable: there is none, or it is too old: a dump that an older program makes is refused by PostgreSQL.
    """
    found = shutil.which(name, path=str(bin_dir) if bin_dir is not None else None)
    if found is None:
        where = f"in PLMS_PG_BIN_DIR ({bin_dir})" if bin_dir is not None else "on PATH"
        raise Unavailable(
            f"{name} is not {where}, and a registry on PostgreSQL cannot be backed up or restored without it; install "
            f"PostgreSQL's client programs (version {server_major} or newer), or set PLMS_PG_BIN_DIR to the folder that holds "
            "them.",
            code="pg_tool_missing",
        )
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
    version = _VERSION.search(said)
    if version is None or int(version[1]) < server_major:
        raise Unavailable(
            f"{found} is of version {version[1] if version else 'unknown'}, the server of version {server_major}; set "
            f"PLMS_PG_BIN_DIR to the client programs of PostgreSQL {server_major} or newer.",
            code="pg_tool_too_old",
        )
    return found


def pg_dump(tool: str, url: str, target: Path, *, snapshot: str) -> None:
    """Dump a database as it stands in a snapshot, in PostgreSQL's own compressed form, without owners and rights.

    Raises:
        Unavailable: it failed; the message holds its last line.
    """
    _run([tool, "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={target}"], url)


def pg_restore(tool: str, url: str, source: Path) -> None:
    """Fill an empty database from a dump, in one transaction: all of it or nothing.

    Raises:
        Unavailable: it failed; the database is as empty as before.
    """
    _run([tool, "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"], url, last=[str(source)])


def _run(command: list[str], url: str, last: list[str] | None = None) -> None:
    parsed = checked_url(url)
    secret = parsed.password or parsed.query.get("password")
    # Not `set(password=None)`, which keeps it.
    bare = parsed.create(
        "postgresql", username=parsed.username, host=parsed.host, port=parsed.port, database=parsed.database,
        query=parsed.difference_update_query(["password"]).query,
    )  # fmt: skip
    environ = {**os.environ, **({"PGPASSWORD": str(secret)} if secret else {})}
    target = f"--dbname={bare.render_as_string(hide_password=False)}"
    done = subprocess.run(
        [*command, "--no-password", target, *(last or [])], env=environ, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(
            f"{Path(command[0]).name} failed ({said[-1].strip()[:300] if said else f'exit code {done.returncode}'}); nothing "
            "was kept. Check the server, its rights and the free space, then run the same command again.",
            code="pg_tool_failed",
        )


def prove_books(settings: Settings) -> Verdict:
    """Prove every invariant of an installation, in a process of its own."""
    environ = {
        **os.environ,
        "PLMS_DATA_DIR": str(settings.data_dir),
        "PLMS_REPORTS_DIR": str(settings.reports_dir),
        "PLMS_DATABASE_URL": settings.database_url,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "plms_pipeline.cli", "invariants", "--full", "--json"], env=environ, capture_output=True,
            text=True, stdin=subprocess.DEVNULL, check=False, timeout=PROVE_TIMEOUT_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return Verdict("unknown", reason=f"the proof could not be run ({type(error).__name__})")
    try:
        report = json.loads(done.stdout)
        broken = tuple(name for name, each in report["checks"].items() if not each["passed"])
        checked, status = len(report["checks"]), report["summary"]["status"]
    except (ValueError, KeyError, TypeError):
        return Verdict("unknown", reason=_told(done.stderr) or f"the proof ended with exit code {done.returncode}")
    if broken:
        return Verdict("broken", checked, broken)
    return Verdict("empty" if status == "no_data" else "hold", checked)


def _told(errors: str) -> str:
    """What a `plms` command with --json said on its way out."""
    for line in reversed(errors.splitlines()):
        try:
            return str(json.loads(line)["error"]["detail"])
        except (ValueError, KeyError, TypeError):
            continue
    return errors.strip()[-300:]
