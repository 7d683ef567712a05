"""What does the report on an evaluation say, section by section?

The sections of the source in its order, and between them what it never had: the verdict of the gates, the limits that were
broken, what it would have been under other costs and caps, and what people wrote about single trades. Figures of `--metrics`
stand in place of ours of the same name, as in the source, but never silently: where they differ both are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from plms_pipeline.models.evaluation.bootstrap import LEVEL, RESAMPLES, SEED, Resampled, bootstrap
from plms_pipeline.models.evaluation.risk import Figures, risk_figures
from plms_pipeline.models.reporting import evidence, figures
from plms_pipeline.models.reporting.blocks import (
    Block,
    Cell,
    Chart,
    Note,
    Report,
    Section,
    named,
    number,
    percent,
    table,
)
from plms_pipeline.models.reporting.evidence import Evidence
from plms_pipeline.models.reporting.reading import Columns, Rows

TITLE: Final = "Model performance report"
DESCRIPTION: Final = (
    "Every figure is out of sample: of moments that the model had not seen when it was fitted, after costs. A return of a "
    "moment is that of the whole portfolio; 0.01 is one percent."
)
NAMED_SYMBOLS: Final = 12
SAME: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Asked:
    """How a report is to look."""

    title: str = TITLE
    description: str = DESCRIPTION
    columns: Columns = field(default_factory=Columns)
    has_equity: bool = True
    has_distribution: bool = True
    level: float = LEVEL
    resamples: int = RESAMPLES
    seed: int = SEED


def compose(rows: Rows, asked: Asked, given: Evidence) -> Report:
    """The report.

    Args:
        rows: the predictions.
        given: what else is known of the evaluation; each part may be missing.
    """
    risk = risk_figures(rows.path.returns, rows.path.benchmark)
    intervals = bootstrap(rows.path.returns, resamples=asked.resamples, seed=asked.seed, level=asked.level)
    told = evidence.given_metrics(given)
    sections = [
        _overview(rows, asked, given),
        evidence.gates(given),
        evidence.alerts(given),
        _risk(risk, told),
        _profitability(rows, risk),
        evidence.milestones(given.milestones),
        _attribution(rows, asked),
        _regimes(rows, asked),
        _scenarios(rows),
        _intervals(intervals, asked),
        evidence.what_if(rows, asked.columns),
        evidence.written_about(given.annotations),
        _charts(rows, risk, asked),
    ]
    return Report(
        asked.title, asked.description, evidence.verdict(given), tuple(one for one in sections if one is not None)
    )


def _overview(rows: Rows, asked: Asked, given: Evidence) -> Section:
    frame, path = rows.frame, rows.path
    symbols = sorted(set(frame["symbol"]))
    more = f", and {len(symbols) - NAMED_SYMBOLS} more" if len(symbols) > NAMED_SYMBOLS else ""
    unit = "day" if len(path.moments[0]) == 10 else "second"
    lines = [
        ("Total samples", f"{len(frame):,}"),
        ("Symbols", f"{len(symbols)}: {', '.join(symbols[:NAMED_SYMBOLS])}{more}"),
        ("Window", f"{path.moments[0]} to {path.moments[-1]} (UTC, to the {unit})"),
        ("Periods", f"{len(path.moments):,}, of which {path.returns.periods_per_year:g} make a year"),
        ("Periods without a return", f"{path.returns.dropped:,}"),
        ("Returns", f"{asked.columns.kind}, column {asked.columns.returns}, {_weighting(asked)}"),
        *evidence.origin(given),
    ]
    return Section("Overview", "", (table("overview", ("what", "value"), lines, texts=(0, 1)),))


def _weighting(asked: Asked) -> str:
    if asked.columns.weighting == "mean":
        return "mean of the symbols of a moment"
    return "sum of the symbols of a moment"


def _risk(risk: Figures, told: Mapping[str, Any]) -> Section:
    rows: list[Sequence[str | Cell]] = []
    for name in sorted({*risk.values, *told}):
        ours, reason = risk.values.get(name), risk.reasons.get(name)
        if name not in told:
            rows.append((named(name), number(ours), f"unknown: {reason.replace('_', ' ')}" if reason else ""))
            continue
        theirs = told[name]
        shown = (
            number(float(theirs)) if isinstance(theirs, int | float) and not isinstance(theirs, bool) else str(theirs)
        )
        if theirs is None:
            shown = number(None)
        if name not in risk.values or _is_same(ours, theirs):
            rows.append((named(name), shown, "given"))
        else:
            note = f"given; these predictions say {number(ours)}"
            rows.append((named(name), Cell(shown, "warn"), Cell(note, "warn")))
    lead = (
        "Names without an ending that could mean either are annual figures. There is one drawdown in this report: the relative "
        "distance of compounded equity from its highest point so far."
    )
    return Section("Risk Metrics", lead, (table("risk metrics", ("figure", "value", "remark"), rows, texts=(0, 2)),))


def _is_same(ours: float | None, theirs: Any) -> bool:
    if ours is None or theirs is None:
        return ours is None and theirs is None
    if not isinstance(theirs, int | float):
        return False
    return abs(ours - theirs) <= SAME * max(1.0, abs(ours))


def _profitability(rows: Rows, risk: Figures) -> Section:
    found = figures.profit(rows.path, risk)
    lines = [
        ("Total return", percent(found.total_return)),
        ("Cumulative PnL", number(found.cumulative_pnl)),
        ("Annualised return", percent(found.annualised_return)),
        ("Annualised volatility", percent(found.annualised_volatility)),
        ("Return multiple", number(found.return_multiple)),
        ("Hit rate", percent(found.hit_rate)),
        ("Max drawdown", percent(found.max_drawdown)),
        ("Best period", percent(found.best)),
        ("Worst period", percent(found.worst)),
        ("Positive periods", f"{found.positive:,}"),
        ("Negative periods", f"{found.negative:,}"),
    ]
    lead = (
        "Total return compounds; cumulative PnL is the sum of the returns, earned on a capital that is never changed."
    )
    return Section("Profitability Summary", lead, (table("profitability", ("figure", "value"), lines),))


def _attribution(rows: Rows, asked: Asked) -> Section:
    shares = figures.attribution(
        rows.frame, "value", timestamp="timestamp", symbol="symbol", weighting=asked.columns.weighting
    )
    lines = [
        (one.symbol, percent(one.weight), number(one.average), number(one.pnl), percent(one.contribution))
        for one in shares
    ]
    headings = ("symbol", "sample weight", "average return", "cumulative PnL", "contribution")
    lead = "What each symbol added to the cumulative PnL; the contributions add up to the whole."
    return Section("Attribution by Symbol", lead, (table("attribution by symbol", headings, lines),))


def _regimes(rows: Rows, asked: Asked) -> Section | None:
    found = figures.regimes(
        rows.frame, "value", timestamp="timestamp", weighting=asked.columns.weighting,
        periods_per_year=asked.columns.periods_per_year,
    )  # fmt: skip
    if not found:
        return None
    headings = ("label", "samples", "sample weight", "average return", "cumulative return", "Sharpe", "hit rate")
    tables = [
        table(
            f"regime {column}", headings,
            [
                (
                    one.label, f"{one.samples:,}", percent(one.weight), number(one.average), percent(one.cumulative),
                    number(one.sharpe), percent(one.hit_rate),
                )
                for one in found if one.column == column
            ],
        )
        for column in dict.fromkeys(one.column for one in found)
    ]  # fmt: skip
    blocks: list[Block] = []
    for column, one in zip(dict.fromkeys(one.column for one in found), tables, strict=True):
        blocks += [Note(f"By {column.replace('_', ' ')}:"), one]
    lead = "The rows under each label, taken as a portfolio of their own. The Sharpe ratio is annualised."
    return Section("Regime Attribution", lead, tuple(blocks))


def _scenarios(rows: Rows) -> Section:
    episode = figures.deepest(rows.path)
    best, worst = figures.extremes(rows.path)
    if episode is None:
        fell = Note("Equity never fell below its highest point.", "good")
        return Section("Scenario Analysis", "", (fell, _periods(best, worst)))
    lines = [
        (
            percent(episode.depth), episode.start or "the start", episode.end, f"{episode.steps:,}",
            episode.recovered or "not yet",
        )
    ]  # fmt: skip
    headings = ("max drawdown", "start", "end", "steps", "recovered")
    blocks = (table("deepest drawdown", headings, lines, texts=(1, 2, 4)), _periods(best, worst))
    return Section("Scenario Analysis", "From the highest point to the lowest, and the most extreme periods.", blocks)


def _periods(best: list[tuple[str, float]], worst: list[tuple[str, float]]) -> Block:
    lines = [(good[0], percent(good[1]), bad[0], percent(bad[1])) for good, bad in zip(best, worst, strict=True)]
    return table("best and worst periods", ("best", "return", "worst", "return"), lines, texts=(0, 2))


def _intervals(found: Resampled, asked: Asked) -> Section:
    lines = [
        (named(name), number(one.point), number(one.low), number(one.high)) for name, one in found.intervals.items()
    ]
    lead = (
        f"Each interval is of the very figure beside it: {found.resamples:,} paths of whole blocks of {found.block_length} "
        f"periods, seed {found.seed}."
    )
    headings = ("figure", "value", "low", "high")
    return Section(
        f"Bootstrapped Confidence Intervals ({asked.level:.0%})",
        lead,
        (table("confidence intervals", headings, lines),),
    )


def _charts(rows: Rows, risk: Figures, asked: Asked) -> Section | None:
    path = rows.path
    values = path.returns.values
    against = None if path.benchmark is None else path.benchmark.values
    span = f"{path.moments[0]} to {path.moments[-1]}"
    blocks: list[Block] = []
    if asked.has_equity:
        benchmark = "" if against is None else f"; the benchmark by {percent(float((1.0 + against).prod()) - 1.0)}"
        alt = (
            f"Equity from {span}: it changed by {percent(risk['total_return'])} with a deepest drawdown of "
            f"{percent(risk['max_drawdown'])}{benchmark}."
        )
        blocks.append(Chart("equity_curve", "Equity and drawdown", alt, path.moments, values, against))
    if asked.has_distribution:
        alt = (
            f"Distribution of {values.size:,} returns: mean {percent(float(values.mean()), 3)}, value at risk "
            f"{percent(risk['value_at_risk'])}, worst {percent(float(values.min()))}, best {percent(float(values.max()))}."
        )
        blocks.append(
            Chart(
                "return_distribution", "Distribution of returns", alt, path.moments, values, kind="return_distribution"
            )
        )
    return Section("Visualisations", "", tuple(blocks)) if blocks else None
