"""`plms import prices`, beside the imports of receipts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plms_pipeline.intake.commands import HELP
from plms_pipeline.intake.commands import app as receipts

if TYPE_CHECKING:
    from plms_pipeline.models.dataset.actions import Imported

app = typer.Typer(help=f"{HELP}\n\nPrices become the dataset that models are trained on.", no_args_is_help=True)
app.registered_commands.extend(receipts.registered_commands)


@app.command(
    epilog="Example: plms import prices data/samples/sp500_daily.csv.gz. Exit: 0 imported, 1 refused with "
    "--strict-validation, 2 no file of prices, 3 no row can be used."
)
def prices(
    files: Annotated[
        list[Path],
        typer.Argument(help="OHLCV: CSV, CSV.gz, Parquet, or SQLite with the table series.", show_default=False),
    ],
    symbol: Annotated[
        str | None, typer.Option(help="Of a file without a symbol column; default: from its name.")
    ] = None,
    adjusted: Annotated[bool, typer.Option("--adjusted", help="Scale prices by the file's adjusted close.")] = False,
    strict_validation: Annotated[
        bool, typer.Option("--strict-validation", help="Refuse data about which anything is found (exit 1).")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="The dataset becomes this file alone.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring prices into the dataset that `plms retrain` uses when it is given no file.

    A row is known by symbol and timestamp: the same again changes nothing, other values replace what stood there, and what they
    replaced is kept under $PLMS_DATA_DIR/market_dataset/revisions/. Impossible rows are listed under quarantine/.
    """
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.errors import BadInput
    from plms_pipeline.models.dataset.actions import Source, import_prices, prepare
    from plms_pipeline.settings import load_settings

    if replace and len(files) > 1:
        raise BadInput("--replace makes one file the whole dataset; name one file, and import the others after it.")
    clock, root = SystemClock(), load_settings().data_dir
    # All are read before the first lands, so that a wrong one is found while nothing is written.
    prepared = [prepare(Source(path, symbol, adjusted), clock=clock) for path in files]
    done = [
        import_prices(one, root=root, clock=clock, strict=strict_validation, replace=replace, dry_run=dry_run)
        for one in prepared
    ]
    if as_json:
        told = [
            {**one.as_document(), "quarantine": None if one.quarantine is None else str(one.quarantine)} for one in done
        ]
        typer.echo(json.dumps({"dry_run": dry_run, "content_hash": done[-1].digest, "files": told}))
        return
    for one in done:
        _show(one, dry_run=dry_run)


def _show(one: Imported, *, dry_run: bool) -> None:
    merged = one.merged
    typer.echo(
        f"{one.file}: {one.rows:,} rows, {merged.added:,} new, {merged.unchanged:,} unchanged, {merged.revised.count:,} "
        f"revised, {one.rejected:,} refused"
    )
    for found in one.findings:
        typer.echo(f"  {found.severity}: {found.sentence}")
    if one.quarantine is not None:
        typer.echo(f"Refused rows: {one.quarantine}")
    state = "would be" if dry_run and one.changed else "is"
    typer.echo(
        f"The dataset {state} {merged.bars.count:,} bars of {len(merged.bars.symbols)} symbols, content {one.digest[:12]}…"
        + ("" if one.changed else " (unchanged)")
    )
