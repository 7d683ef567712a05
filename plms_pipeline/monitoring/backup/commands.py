"""`plms backup`: make a backup, prove that one is whole, bring one back, from a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from plms_pipeline.clock import SystemClock
from plms_pipeline.settings import load_settings

app = typer.Typer(help="Back up, verify a backup, restore one.", no_args_is_help=True, add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Backup = Annotated[str, typer.Argument(help="The folder or URL that `plms backup create` printed.")]


@app.command(epilog="Example: plms backup create /mnt/backups   or: plms backup create s3://bucket/plms --json")
def create(
    destination: Annotated[
        str | None, typer.Argument(help="Folder or fsspec URL to put it below; PLMS_BACKUP_TO when left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Back up the registry and every file that belongs to it, while everything runs. Secrets are left out.

    Exit 0: the backup is whole and in place. 1: there is one of this second. 2: bad use. 4: the registry is damaged.
    4: the registry, the place, or pg_dump is away; nothing was kept.
    """
    from plms_pipeline.monitoring.backup.actions import creating

    settings = load_settings()
    with _waiting() as looking:
        to = creating.destination_of(settings, destination)
        made = creating.create(settings, to, clock=SystemClock(), looking=looking)
    manifest = made.manifest
    if as_json:
        said = {
            "backup": made.place, "created_at": manifest.created_at.isoformat(), "files": len(manifest.files),
            "bytes": manifest.size, "rows": sum(manifest.rows.values()), "database": manifest.dialect,
            "revision": manifest.revision, "links_not_followed": made.links, "left_out": list(manifest.left_out),
        }  # fmt: skip
        typer.echo(json.dumps(said))
        return
    typer.echo(
        f"{made.place}: {len(manifest.files)} files, {manifest.size:,} bytes, {sum(manifest.rows.values()):,} rows at revision "
        f"{manifest.revision}"
    )
    if made.links:
        typer.echo(f"  {made.links} links were not followed")
    if manifest.left_out:
        typer.echo(f"  left out, because nobody knows them: {', '.join(manifest.left_out)}")
    typer.echo("  secrets (token keys, webhook secret, settings) are not in it: keep them elsewhere")


@app.command(epilog="Example: plms backup verify /mnt/backups/plms-20260301T120000Z --json")
def verify(backup: Backup, as_json: AsJson = False) -> None:
    """Read every byte of a backup and compare it with the manifest.

    Exit 0: it is whole. 1: a file was changed, is missing or too many, or the manifest is damaged. 2: there is no backup.
    4: its place does not answer.
    """
    from plms_pipeline.monitoring.backup.actions import verifying

    with _waiting() as looking:
        found = verifying.verify(backup, looking=looking)
    manifest = found.manifest
    if as_json:
        said = {
            "backup": found.place, "whole": found.is_whole, "problems": list(found.problems),
            "created_at": manifest.created_at.isoformat() if manifest else None,
            "files": len(manifest.files) if manifest else None, "bytes": manifest.size if manifest else None,
        }  # fmt: skip
        typer.echo(json.dumps(said))
    else:
        for problem in found.problems:
            typer.echo(f"  {problem}")
        if manifest is not None and found.is_whole:
            typer.echo(
                f"{found.place}: whole, {len(manifest.files)} files, of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC"
            )
    if not found.is_whole:
        raise verifying.damaged(found)


@app.command(epilog="Example: PLMS_DATA_DIR=/srv/plms/data plms backup restore /mnt/backups/plms-20260301T120000Z")
def restore(backup: Backup, as_json: AsJson = False) -> None:
    """Bring a backup back into PLMS_DATA_DIR, PLMS_REPORTS_DIR and PLMS_DATABASE_URL, all of them empty, and prove the books.

    The backup is verified first; nothing is migrated and nothing is overwritten.

    Exit 0: restored, and every invariant holds. 1: the backup is damaged, something is not empty, or an invariant does not
    hold. 2: bad use. 3: restored, and empty. 4: the place or the database is away.
    """
    from plms_pipeline.monitoring.backup.actions import restoring

    settings = load_settings()
    with _waiting() as looking:
        done = restoring.restore(settings, backup, clock=SystemClock(), looking=looking)
    manifest, verdict = done.manifest, done.verdict
    if as_json:
        said = {
            "backup": done.place, "created_at": manifest.created_at.isoformat(), "files": len(manifest.files),
            "rows": sum(manifest.rows.values()), "revision": manifest.revision, "days_written_again": done.days_written,
            "invariants": {"verdict": verdict.word, "checked": verdict.checked, "broken": list(verdict.broken)},
        }  # fmt: skip
        typer.echo(json.dumps(said))
    else:
        typer.echo(
            f"Restored {len(manifest.files)} files and {sum(manifest.rows.values()):,} rows as of "
            f"{manifest.created_at:%Y-%m-%d %H:%M:%S} UTC; {done.days_written} days of receipts written again from their rows"
        )
        if verdict.word == "hold":
            typer.echo(f"All {verdict.checked} invariants hold.")
    refusal = restoring.refusal_of(verdict)
    if refusal is not None:
        raise refusal


@contextmanager
def _waiting() -> Iterator[Callable[[str], None]]:
    """A line on the terminal that says what is being done; nothing where nobody looks."""
    with Console(stderr=True, markup=False, emoji=False).status("Backup") as status:
        yield status.update
