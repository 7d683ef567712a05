"""What is told of the data: bars as they stand, the snapshot that is trained on, and the features made of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plms_pipeline.models.market.bars import Bars
from plms_pipeline.models.market.checks import Examination
from plms_pipeline.models.market.findings import Finding
from plms_pipeline.models.stages.names import (
    BAR_FINDINGS,
    DATASET_SNAPSHOT,
    FEATURE_MATRIX,
    MARKET_BARS,
    NO_LOOK_AHEAD,
    SNAPSHOT_HASH,
    STRICT,
)
from plms_pipeline.models.stages.stage import Check, Fact, Stage, shown
from plms_pipeline.models.training.experiment import Experiment
from plms_pipeline.models.training.features import look_ahead
from plms_pipeline.models.training.fit import matrix
from plms_pipeline.models.training.manifest import instant

SHOWN = 30


def bars_stage(examined: Examination, digest: str, *, source: str) -> Stage:
    """What a file of prices holds, and every sentence about it.

    Args:
        examined: its rows after the checks.
        digest: content hash of the bars that are left.
        source: where they came from, for people.
    """
    found = {one.name: one for one in examined.findings}
    checks = [
        _bar_check(name, [found[rule] for rule in rules if rule in found]) for name, rules in BAR_FINDINGS.items()
    ]
    checks.append(_bar_check(STRICT, list(examined.findings)))
    facts = {
        "dagster/row_count": examined.bars.count, "content_hash": digest, **_span(examined.bars), "source": source,
        "rejected_rows": examined.rejected.rows.count, "findings": len(examined.findings),
    }  # fmt: skip
    return Stage(MARKET_BARS, facts, tuple(checks), {"symbols_table": _symbols(examined.bars), "told": _told(examined)})


def _bar_check(name: str, found: Sequence[Finding]) -> Check:
    return Check(name, not found, " ".join(one.sentence for one in found), {one.name: one.count for one in found})


def _span(bars: Bars) -> dict[str, Fact]:
    return {
        "symbols": len(bars.symbols), "first": instant(bars.timestamp.min()), "last": instant(bars.timestamp.max()),
    }  # fmt: skip


def _symbols(bars: Bars) -> str:
    lines = ["| symbol | bars | first | last | last close |", "|---|--:|---|---|--:|"]
    for symbol, rows in list(bars.slices())[:SHOWN]:
        times, close = bars.timestamp[rows], bars.close[rows]
        lines.append(
            f"| {shown(symbol)} | {close.size:,} | {str(times[0])[:10]} | {str(times[-1])[:10]} | {close[-1]:,.6g} |"
        )
    more = len(bars.symbols) - SHOWN
    return "\n".join(lines) + (f"\n\nand {more} more" if more > 0 else "")


def _told(examined: Examination) -> str:
    if not examined.findings:
        return "Nothing was found."
    return "\n".join(f"- {one.severity} {shown(one.sentence)}" for one in examined.findings)


def snapshot_stage(bars: Bars, digest: str, path: str, *, altered: str = "") -> Stage:
    """The snapshot: which bars it keeps under which name.

    Args:
        digest: what its name says.
        altered: what is wrong with what was read back from it, "" if it holds these bars.
    """
    facts: dict[str, Fact] = {"dagster/row_count": bars.count, "content_hash": digest, **_span(bars)}
    return Stage(DATASET_SNAPSHOT, facts, (Check(SNAPSHOT_HASH, not altered, altered),), paths={"snapshot": path})


def features_stage(bars: Bars, asked: Experiment) -> Stage:
    """The features that an experiment makes of bars, and whether one of them sees the future.

    Raises:
        BadInput: the experiment asks for a symbol that is not there.
        NoData: the history is too short, or a feature does not exist.
    """
    found = matrix(bars, asked)
    wrong = look_ahead(found.bars)
    usable = found.features.usable
    facts: dict[str, Fact] = {
        "dagster/row_count": found.bars.count,
        "features": len(found.features.names),
        "rows_with_features": int(usable.sum()),
        "rows_that_teach": int(found.teachable.sum()),
        "moments": int(found.calendar.size),
        "horizon_bars": asked.target.horizon,
    }
    check = Check(NO_LOOK_AHEAD, wrong is None, "" if wrong is None else wrong.sentence)
    values = found.features.values[usable]
    lines = ["| feature | mean | deviation | least | most |", "|---|--:|--:|--:|--:|"]
    for place, name in enumerate(found.features.names):
        column = values[:, place]
        lines.append(
            f"| {shown(name)} | {column.mean():.4g} | {column.std():.4g} | {column.min():.4g} | {column.max():.4g} |"
        )
    target = found.target[np.isfinite(found.target)]
    lines.append(f"| target | {target.mean():.4g} | {target.std():.4g} | {target.min():.4g} | {target.max():.4g} |")
    return Stage(FEATURE_MATRIX, facts, (check,), {"columns": "\n".join(lines)})
