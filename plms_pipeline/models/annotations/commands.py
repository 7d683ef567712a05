"""`plms annotate`: what people think of single trades, from a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import load_settings

app = typer.Typer(
    help="What people think of single trades: kept, shown in reports, weighed in trainings.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Symbol = Annotated[str | None, typer.Option(help="Of this symbol.")]
Decision = Annotated[str | None, typer.Option(help="approve, escalate, flag, hold or reject.")]


@app.command(
    epilog="Example: plms annotate record --symbol SPY --trade-timestamp 2024-03-01T16:00:00Z --decision reject --rationale "
    '"An outlier of the feed." --author "Risk desk"'
)
def record(
    decision: Annotated[str, typer.Option(help="approve, escalate, flag, hold or reject.")],
    rationale: Annotated[str, typer.Option(help="Why.")],
    author: Annotated[str, typer.Option(help="Who says so.")],
    trade_id: Annotated[int | None, typer.Option(help="Which trade.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Of the trade, with --trade-timestamp.")] = None,
    trade_timestamp: Annotated[str | None, typer.Option(help="When it was made; without a zone UTC.")] = None,
    confidence: Annotated[float | None, typer.Option(help="0 to 1.")] = None,
    tags: Annotated[list[str] | None, typer.Option(help="Commas part them; may be repeated.")] = None,
    created_at: Annotated[str | None, typer.Option(help="When it was said; default: now.")] = None,
    metadata: Annotated[str | None, typer.Option(help="A JSON object.")] = None,
    context_window_start: Annotated[str | None, typer.Option(help="From when on they looked.")] = None,
    context_window_end: Annotated[str | None, typer.Option(help="Until when.")] = None,
    indent: Annotated[int, typer.Option(min=0, help="Of the JSON that is printed.")] = 2,
    as_json: AsJson = False,  # noqa: ARG001 - what is recorded is printed as JSON in any case
) -> None:
    """Say what you think of a trade; the recorded row is printed.

    Exit 0: recorded. 2: wrong use, or there is no such trade.
    """
    from plms_pipeline.clock import SystemClock
    from plms_pipeline.models.annotations import actions, rules

    about = actions.About(trade_id, symbol, rules.moment_of(trade_timestamp, "--trade-timestamp"))
    draft = rules.Draft(
        decision, rationale, author, confidence, tuple(tags or ()), rules.moment_of(created_at, "--created-at"),
        rules.metadata_of(metadata), rules.moment_of(context_window_start, "--context-window-start"),
        rules.moment_of(context_window_end, "--context-window-end"),
    )  # fmt: skip
    with opened(load_settings()) as registry:
        kept = actions.record(registry, about, draft, clock=SystemClock())
    typer.echo(json.dumps(kept.as_document(), indent=indent or None, ensure_ascii=False))


@app.command("list", epilog="Example: plms annotate list --symbol SPY --decision reject --limit 20 --json")
def listing(
    trade_id: Annotated[list[int] | None, typer.Option(help="Of this trade; may be repeated.")] = None,
    symbol: Symbol = None,
    decision: Decision = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """What was said, the newest first."""
    from plms_pipeline.models.annotations import actions

    with opened(load_settings(), read_only=True) as registry:
        found = actions.listed(registry, trade_ids=trade_id or (), symbol=symbol, decision=decision, limit=limit)
    if as_json:
        typer.echo(json.dumps([one.as_document() for one in found], ensure_ascii=False))
        return
    for one in found:
        when = "" if one.trade_timestamp is None else f"{one.trade_timestamp:%Y-%m-%d %H:%M}"
        sure = "" if one.confidence is None else f" ({one.confidence:.0%} sure)"
        tags = f" [{', '.join(one.tags)}]" if one.tags else ""
        line = f"{one.decision:<8} trade {one.trade_id} {one.symbol or ''} {when} {one.author}: {one.rationale}{sure}{tags}"
        # A name may hold what a terminal obeys.
        typer.echo("".join(sign if sign.isprintable() else "?" for sign in line))
    if not found:
        typer.echo("Nobody has said anything.")


@app.command(epilog="Example: plms annotate export annotations.json")
def export(
    path: Annotated[Path, typer.Argument(help="JSON, or CSV when its name ends in .csv.", show_default=False)],
    symbol: Symbol = None,
    decision: Decision = None,
    as_json: AsJson = False,
) -> None:
    """Write annotations to a file, which `plms report-model --annotations` reads."""
    from plms_pipeline.instance.files.named import named_by
    from plms_pipeline.models.annotations import actions

    with opened(load_settings(), read_only=True) as registry, named_by("PATH", path):
        count = actions.export(registry, path, symbol=symbol, decision=decision)
    typer.echo(json.dumps({"path": str(path), "annotations": count}) if as_json else f"{count} annotations: {path}")


@app.command(epilog="Example: plms annotate trades trades.csv")
def trades(
    path: Annotated[
        Path, typer.Argument(help="CSV, Parquet, JSON, or SQLite with the table trades.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Bring in the trades to speak about.

    Columns: timestamp, symbol, side (long, short, flat), size, price; perhaps trade_id, fees, slippage_bp, pnl.
    """
    from plms_pipeline.models.annotations import actions

    with opened(load_settings()) as registry:
        added, known = actions.bring_trades(registry, path)
    typer.echo(
        json.dumps({"added": added, "unchanged": known}) if as_json else f"{added} new trades, {known} unchanged"
    )


@app.command(epilog="Example: plms annotate positions positions.csv --symbol SPY")
def positions(
    path: Annotated[Path, typer.Argument(help="JSON, or CSV when its name ends in .csv.", show_default=False)],
    symbol: Symbol = None,
    as_json: AsJson = False,
) -> None:
    """Write the trades of the registry as a log of positions, which `plms retrain --eval-trades` holds against the limits.

    A long trade is a position above zero, a short one below; notional is position times price. Exit 3: there is no trade.
    """
    from plms_pipeline.instance.files.named import named_by
    from plms_pipeline.models.annotations import actions

    with opened(load_settings(), read_only=True) as registry, named_by("PATH", path):
        count = actions.positions(registry, path, symbol=symbol)
    typer.echo(json.dumps({"path": str(path), "trades": count}) if as_json else f"{count} trades: {path}")
