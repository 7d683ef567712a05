"""`plms forecast`, `plms priors`, `plms receipts`: what work will take, from a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from plms_pipeline.clock import SystemClock
from plms_pipeline.errors import BadInput
from plms_pipeline.registry.opening import opened
from plms_pipeline.settings import load_settings

if TYPE_CHECKING:
    from plms_pipeline.estimates.actions.explaining import Explanation
    from plms_pipeline.estimates.actions.forecasting import Forecast, Line
    from plms_pipeline.estimates.plan import Work

forecast_app = typer.Typer(help="What a task or project will take.")
priors_app = typer.Typer(help="What is believed per lane and provider.")
receipts_app = typer.Typer(help="Explain what a run's receipts taught.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@forecast_app.command(
    epilog="Example: plms forecast --lane 4200 --provider 'Claude 4 Sonnet (20250514)' --tasks 40 --quantile 0.95"
)
def forecast(
    lane: Annotated[str | None, typer.Option(help="Number, name or alias of a registered lane.")] = None,
    provider: Annotated[str | None, typer.Option(help="Model or service.")] = None,
    tasks: Annotated[str | None, typer.Option(help="How many such tasks (default 1).")] = None,
    plan: Annotated[
        Path | None, typer.Option("--from", help="A CSV plan with the columns lane, provider, tasks.")
    ] = None,
    quantile: Annotated[float, typer.Option(help="How surely the budget is to suffice, between 0 and 1.")] = 0.95,
    compare: Annotated[str | None, typer.Option(help="Other providers for the same work, by comma.")] = None,
    as_json: AsJson = False,
) -> None:
    """Median, 90 % interval and the budget that suffices with the asked probability.

    `effort` is what the work takes when it succeeds; `spend` is what is paid whatever its end, repeated attempts included.
    """
    from plms_pipeline.estimates.actions.forecasting import forecasts, lane_words
    from plms_pipeline.estimates.files import last_backtest

    if not 0.0 < quantile < 1.0:
        raise BadInput(f"--quantile {quantile} is no probability between 0 and 1, such as 0.95.", code="bad_quantile")
    settings = load_settings()
    with opened(settings, read_only=True) as registry:
        work = _work(lane_words(registry), lane, provider, tasks, plan)
        names = _compared(compare)
        plans = [work, *(_with_provider(work, name) for name in names)]
        found = forecasts(
            registry, plans, quantile=quantile, as_of=SystemClock().now(), alpha=settings.alpha,
            last_night=last_backtest(settings.data_dir),
        )  # fmt: skip
    if as_json:
        first, *others = [one.as_json() for one in found]
        typer.echo(json.dumps({**first, "compared": others}, ensure_ascii=False))
        return
    for one in found:
        _print_forecast(one)
    if len(found) > 1:
        _print_comparison(found)


def _work(
    words: Mapping[str, int], lane: str | None, provider: str | None, tasks: str | None, plan: Path | None
) -> list[Work]:
    from plms_pipeline.estimates.files import read_plan
    from plms_pipeline.estimates.plan import Work, lane_of, parse_plan, tasks_of

    if plan is not None:
        if tasks is not None:
            raise BadInput("--tasks and --from exclude each other; a plan says its own tasks.", code="bad_use")
        return parse_plan(read_plan(plan), plan.name, words, lane=lane, provider=provider)
    if not lane or not provider or not provider.strip():
        raise BadInput("Give --lane and --provider, or a plan with --from.", code="bad_use")
    return [Work(lane_of(lane, words), provider.strip(), tasks_of(tasks or "1", "--tasks"))]


def _compared(compare: str | None) -> list[str]:
    """The other providers, each once."""
    if compare is None:
        return []
    names = [name.strip() for name in compare.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise BadInput(
            f"--compare {compare!r} names nobody, or somebody twice; give providers by comma, each once.",
            code="bad_use",
        )
    return names


def _with_provider(work: Sequence[Work], provider: str) -> list[Work]:
    """The same work done by another provider."""
    from plms_pipeline.estimates.plan import Work

    lanes = sorted({one.lane_id for one in work})
    return [Work(lane, provider, sum(one.tasks for one in work if one.lane_id == lane)) for lane in lanes]


def _print_forecast(found: Forecast) -> None:
    who = ", ".join(sorted({one.provider for one in found.work}))
    lanes = ", ".join(str(lane) for lane in sorted({one.lane_id for one in found.work}))
    plural = "task" if found.tasks == 1 else "tasks"
    table = Table(
        "basis", "measure", "median", "90 % interval", f"suffices with {found.quantile:g}", "rests on",
        "last night inside 90 %", title=f"{found.tasks:,} {plural} · lane {lanes} · {who}",
    )  # fmt: skip
    for line in found.lines:
        total = line.total
        table.add_row(
            line.basis, NAMES[line.measure], shown(total.median, line.measure),
            f"{shown(total.low, line.measure)} – {shown(total.high, line.measure)}", shown(total.budget, line.measure),
            f"{line.ground.level}, n={line.ground.n:,}",
            "unknown" if line.coverage_90 is None else f"{line.coverage_90:.1%} of {line.coverage_n:,}",
        )  # fmt: skip
    console = Console(markup=False, emoji=False)
    console.print(table)
    for note in found.notes:
        console.print(f"note: {note}")


def _print_comparison(found: Sequence[Forecast]) -> None:
    table = Table("provider", "median", "suffices", title="Compared by what is paid, cheapest first")
    lines: list[tuple[float, str, Line]] = []
    for one in found:
        who = ", ".join(sorted({work.provider for work in one.work}))
        lines += [
            (line.total.budget, who, line) for line in one.lines if line.basis == "spend" and line.measure == "cost_usd"
        ]
    for _, who, line in sorted(lines, key=lambda item: (item[0], item[1])):
        table.add_row(who, shown(line.total.median, line.measure), shown(line.total.budget, line.measure))
    if lines:
        Console(markup=False, emoji=False).print(table)


NAMES: Final = {"tokens": "tokens", "duration_ms": "time", "cost_usd": "cost"}


def shown(value: float, measure: str) -> str:
    """A value with its unit as people read it."""
    if measure == "cost_usd":
        return f"${value:,.2f}" if value >= 10 else f"${value:.4g}"
    if measure == "duration_ms":
        minutes = value / 60_000
        return f"{minutes / 60:,.1f} h" if minutes >= 120 else f"{minutes:.3g} min"
    return f"{value:,.0f}"


@priors_app.command(epilog="Example: plms priors --basis spend --json")
def priors(
    basis: Annotated[str | None, typer.Option(help="effort or spend; both by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """The newest version of every prior, with its 90 % interval."""
    from plms_pipeline.estimates.actions.listing import newest_priors
    from plms_pipeline.measures import BASES

    if basis is not None and basis not in BASES:
        raise BadInput(f"--basis {basis} is none; use effort or spend.", code="bad_basis")
    with opened(load_settings(), read_only=True) as registry:
        rows = newest_priors(registry, at=SystemClock().now())
    rows = [row for row in rows if basis in (None, row["basis"])]
    if as_json:
        typer.echo(json.dumps({"priors": rows}, ensure_ascii=False))
        return
    table = Table("basis", "lane", "provider", "receipts", "version", "cost: median [90 %]", "duration: median [90 %]")
    for row in rows:
        lane = "all" if row["lane_id"] is None else str(row["lane_id"])
        who = "any" if row["provider"] == "*" else row["provider"]
        table.add_row(
            row["basis"], lane, who, f"{row['n']:,}", str(row["version"]), _interval(row, "cost_usd"),
            _interval(row, "duration_ms"),
        )  # fmt: skip
    Console(markup=False, emoji=False).print(table)


def _interval(row: Mapping[str, Any], measure: str) -> str:
    cell = row.get(measure)
    if not cell:
        return "unknown"
    median, low, high = (shown(cell[name], measure) for name in ("median", "low", "high"))
    return f"{median} [{low} – {high}]"


@receipts_app.callback()
def receipts() -> None:
    """Receipts: what each task took, and what was learnt from it."""


@receipts_app.command(epilog="Example: plms receipts explain 5f0c6b8e-8f0e-5a51-9d2e-6d2f3f0b7a11")
def explain(run_id: Annotated[str, typer.Argument(help="The run.")], as_json: AsJson = False) -> None:
    """Every rule of the calibration policy with its value for a run, and what the run moved."""
    from plms_pipeline.estimates.actions.explaining import explain_run

    settings = load_settings()
    with opened(settings, read_only=True) as registry:
        found = explain_run(registry, run_id, alpha=settings.alpha, at=SystemClock().now())
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False))
        return
    _print_explanation(found)


def _print_explanation(found: Explanation) -> None:
    console = Console(markup=False, emoji=False)
    for one in found.receipts:
        took = ", ".join(shown(value, name) for name, value in one.measures.items() if value is not None)
        table = Table(
            "basis", "rule", "holds", "values",
            title=f"{one.task_id} attempt {one.attempt} · lane {one.lane_id} · {one.provider} · {took}",
        )  # fmt: skip
        for basis, verdicts in one.verdicts.items():
            for verdict in verdicts:
                values = ", ".join(f"{name}={value or 'none'}" for name, value in verdict.values.items())
                table.add_row(basis, verdict.says, "yes" if verdict.holds else "NO", values)
            table.add_row(basis, "teaches", "yes" if one.teaches(basis) else "NO", "", end_section=True)
        console.print(table)
    if not found.moved:
        console.print("It moved no prior.")
        return
    table = Table(
        "basis", "lane", "provider", "measure", "", "n", "mean", "median", "90 % interval", title="What it moved"
    )
    for moved in found.moved:
        for label, belief in (("without", moved.without), ("with it", moved.with_it)):
            table.add_row(
                moved.basis, str(moved.lane_id), moved.provider, moved.measure, label, f"{belief.n:,}",
                "unknown" if belief.mean is None else shown(belief.mean, moved.measure),
                shown(belief.median, moved.measure),
                f"{shown(belief.low, moved.measure)} – {shown(belief.high, moved.measure)}",
            )  # fmt: skip
    console.print(table)
