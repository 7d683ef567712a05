"""`plms db`: the schema of the registry, from a terminal."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import CursorResult, text
from sqlalchemy.exc import SQLAlchemyError

from plms_pipeline.errors import BadInput, Unavailable, VerdictNo
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import load_settings, masked

app = typer.Typer(help="Create, migrate and check the registry's schema.", no_args_is_help=True)

# Past white space, comments and opening parentheses.
_FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*([^\s(;]+)", re.DOTALL)
Revision = Annotated[str, typer.Argument(help="Revision, `head`, `base`, or steps such as -1.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def _show(state: migrate.SchemaState, url: str, *, as_json: bool) -> None:
    if as_json:
        payload = {
            "database": masked(url), "revision": state.current, "head": state.head, "at_head": state.is_at_head,
            "differences": list(state.differences),
        }  # fmt: skip
        typer.echo(json.dumps(payload))
        return
    mark = "at head" if state.is_at_head else f"head is {state.head}"
    typer.echo(f"{masked(url)}: revision {state.current or 'none'} ({mark})")
    for difference in state.differences:
        typer.echo(f"  differs: {difference}")


@app.command(epilog="Example: plms db upgrade")
def upgrade(revision: Revision = "head", as_json: AsJson = False) -> None:
    """Bring the registry to a revision (default: the newest). Safe to repeat."""
    url = load_settings().database_url
    _show(migrate.upgrade(url, revision), url, as_json=as_json)


@app.command(epilog="Example: plms db downgrade -- -1", context_settings={"ignore_unknown_options": True})
def downgrade(revision: Revision = "-1", as_json: AsJson = False) -> None:
    """Bring the registry down to a revision (default: one step). No row is lost: an upgrade brings all of them back."""
    url = load_settings().database_url
    _show(migrate.downgrade(url, revision), url, as_json=as_json)


@app.command(epilog="Example: plms db check --json")
def check(as_json: AsJson = False) -> None:
    """Compare the registry with what this program expects; exit 1 when they differ."""
    url = load_settings().database_url
    state = migrate.check(url)
    _show(state, url, as_json=as_json)
    if not state.is_at_head:
        raise VerdictNo("The registry is not at head; run `plms db upgrade`.", code="registry_not_at_head")


# The guides' statements begin with a comment, which is no option.
@app.command(
    epilog="Example: plms db query 'SELECT lane_id, name, cap FROM lanes'",
    context_settings={"ignore_unknown_options": True},
)
def query(
    statement: Annotated[str, typer.Argument(help="One SELECT, WITH or EXPLAIN statement.")],
    as_json: AsJson = False,
) -> None:
    """Read from the registry with SQL, on either database; nothing can be changed."""
    asked = only_reads(statement)
    url = load_settings().database_url
    migrate.require_made(url)
    registry = Registry.open(url, read_only=True)
    try:
        with registry.reading() as session:
            # A colon is SQL here (a moment, a cast), never a parameter of ours.
            result = cast("CursorResult[Any]", session.execute(text(asked.replace(":", "\\:"))))
            columns = list(result.keys()) if result.returns_rows else []
            rows = [tuple(row) for row in result] if result.returns_rows else []
    except Unavailable as error:
        if "attempt to write" in error.message:
            raise BadInput("The statement wants to write; `plms db query` only reads.", code="not_a_query") from error
        raise
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise BadInput(
            f"The registry refused the statement ({reason}); `plms db query --help` has an example."
        ) from error
    finally:
        registry.close()
    _print_rows(columns, rows, as_json=as_json)


def only_reads(statement: str) -> str:
    """The statement, if it is one that asks.

    What it asks may still want to write (`WITH … DELETE`, a function): that the database refuses, to which the connection is
    read-only. What it cannot refuse is what ends its transaction or opens another file: COMMIT, ATTACH.

    Raises:
        BadInput: it begins with another word than SELECT, WITH or EXPLAIN, or is empty.
    """
    word = _FIRST_WORD.match(statement)
    if word is None or word[1].upper() not in {"SELECT", "WITH", "EXPLAIN"}:
        found = f"begins with {word[1][:20]!r}" if word else "is empty"
        raise BadInput(
            f"The statement {found}; `plms db query` only reads: give one SELECT, WITH or EXPLAIN statement.",
            code="not_a_query",
        )
    return statement


def _print_rows(columns: list[str], rows: list[tuple[Any, ...]], *, as_json: bool) -> None:
    if as_json:
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise BadInput(
                f"Two columns are called {twice[0]!r}; give each a name of its own with AS: a JSON object holds one of them.",
                code="ambiguous_column",
            )
        typer.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], default=str))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    Console(markup=False, emoji=False).print(table)
