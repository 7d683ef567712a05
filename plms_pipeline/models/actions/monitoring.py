"""How is a champion watched after its promotion?

`look` scores the bars that were imported since the champion's training, compares what it earned with what was approved, asks
the decision tree, and writes one row and one file. An anomaly of the data wins over everything: then the row says `halt`, the
data-quality incident that alerts and people read; broken limits ask for a retraining. `compare` does the same arithmetic on
anybody's files and writes no row.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Conflict, NoData
from plms_pipeline.models.dataset.files import current_bars
from plms_pipeline.models.decision.tree import watch
from plms_pipeline.models.evaluation.returns import Floats, numbers
from plms_pipeline.models.evaluation.thresholds import OperationsThresholds
from plms_pipeline.models.layout import EVALUATION as FOLDER
from plms_pipeline.models.layout import SUMMARY
from plms_pipeline.models.market.bars import Bars, canonical
from plms_pipeline.models.market.checks import STALE_AFTER_BARS
from plms_pipeline.models.market.suspicions import suspicions
from plms_pipeline.models.records import MARKET, Champion
from plms_pipeline.models.reporting.files import read_document, read_predictions
from plms_pipeline.models.reporting.reading import TIMESTAMPS, Columns, rows_of
from plms_pipeline.models.stages.files import read_document as read_signed
from plms_pipeline.models.store import candidates, champions, looks
from plms_pipeline.models.training.experiment import experiment
from plms_pipeline.models.training.files import CANDIDATE, PREDICTIONS, load_model, verify_run
from plms_pipeline.models.watch import files
from plms_pipeline.models.watch.judging import Judgement, Rules, judged
from plms_pipeline.models.watch.returns import Live, live_returns, trained_of
from plms_pipeline.registry.engine import Registry

STALE: Final = "feed_is_stale"
# What one of these says of the newest bars makes every figure that is computed on them doubtful.
DOUBTFUL: Final = frozenset({"returns_as_prices", "shuffled_time", "suspicious_splits", "stale_feed"})


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a champion.

    Attributes:
        action: keep, request_retrain or halt.
        sentence: of the tree, for people.
        rows: of symbols and moments that the returns rest on.
        number: of the row in `live_snapshots`; None if nothing was written.
        path: of the snapshot's file, relative to the data folder.
    """

    champion: Champion | None
    action: str
    sentence: str
    codes: tuple[str, ...]
    rows: int
    document: dict[str, Any]
    number: int | None
    path: str | None


def look(
    registry: Registry, *, data_dir: Path, clock: Clock, rules: Rules | None = None, own_limits: bool = True,
    is_dry: bool = False,
) -> Look:  # fmt: skip
    """Look at the champion for prices on the imported dataset.

    Args:
        rules: how its returns are judged; None: window and drift limits as they are by default.
        own_limits: risk limits are those by which it was judged, and not those of the rules.
        is_dry: write neither row nor file.

    Raises:
        NoData: there is no champion (`no_champion`), or no dataset (`no_bars`).
        NoData: a file of the champion is gone (`file_missing`). Conflict: one was changed.
        BadInput: the dataset is damaged, or lacks a signal of the model.
    """
    with registry.reading() as session:
        champion = champions.current(session, MARKET)
        known = None if champion is None else candidates.find(session, champion.candidate_id)
    if champion is None or known is None:
        raise NoData(
            "Nothing was promoted yet, so there is nothing to watch; give files to compare, or promote a candidate.",
            code="no_champion",
        )
    folder = data_dir / champion.folder
    run = verify_run(folder, known.bytes.manifest)
    asked = experiment(run.manifest["experiment"], str(folder))
    model = load_model(folder / CANDIDATE, champion.model_sha256)
    bars, digest = current_bars(data_dir)
    live = live_returns(bars, model, asked, trained_of(run.manifest, str(folder)))
    reference = _returns(folder / PREDICTIONS, "realised_return")
    rules = rules or Rules()
    found = judged(reference, live.values, replace(rules, risk=_own_limits(folder, champion)) if own_limits else rules)
    feed = _feed_alerts(live, clock.now())
    codes = tuple(dict.fromkeys((*(code for code, _ in feed), *found.codes)))
    said = watch(alerts=codes)
    document = _document(champion, digest, live, found, feed, at=clock.now())
    document["action"], document["sentence"] = said.action, said.sentence
    number, path = None, f"{champion.folder}/{FOLDER}/{files.SNAPSHOT}"
    if not is_dry:
        files.write_snapshot(data_dir / path, document)
        number = _recorded(registry, champion, document, codes, said.action, live, path, clock)
    return Look(champion, said.action, said.sentence, codes, live.rows, document, number, None if is_dry else path)


def _own_limits(folder: Path, champion: Champion) -> OperationsThresholds:
    """The limits by which the champion was judged: those of its experiment, but for those that its training was told.

    Raises:
        NoData, Conflict, BadInput: the summary that was signed is gone, was changed or cannot be read.
    """
    path = folder / FOLDER / SUMMARY
    document, sha256 = read_signed(path)
    if sha256 != champion.evaluation_sha256:
        raise Conflict(
            f"{path} was changed after the evaluation; restore it from a backup, or roll back.", code="summary_altered"
        )
    named = {one.name for one in fields(OperationsThresholds)}
    said = document.get("thresholds") or {}
    return OperationsThresholds(**{name: limit for name, limit in said.items() if name in named})


def _feed_alerts(live: Live, now: datetime) -> list[tuple[str, str]]:
    """What is wrong with the bars since the training: (stable code, sentence)."""
    found = [(STALE, f"No bar of {name} came since the training.") for name in live.silent]
    if live.bars is None or not live.rows:
        # Nothing came at all: history that somebody imported once, and no feed that broke.
        return found
    fresh = _newest(live.bars, live.moments)
    present = np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "us")
    for one in suspicions(fresh, as_of=present, stale_after_bars=STALE_AFTER_BARS):
        if one.name == "stale_end":
            found.append((STALE, one.sentence))
        elif one.name in DOUBTFUL:
            found.append(("data_not_valid", one.sentence))
    return found


def _newest(bars: Bars, moments: np.ndarray[Any, np.dtype[np.datetime64]]) -> Bars:
    """The bars since the training, and as many before them: a seam shows only with both of its sides."""
    first = bars.calendar()
    place = max(int(np.searchsorted(first, moments[0])) - max(moments.size, 30), 0)
    return canonical(bars.raw().take(bars.timestamp >= first[place]))


def _document(
    champion: Champion, digest: str, live: Live, found: Judgement, feed: list[tuple[str, str]], *, at: datetime
) -> dict[str, Any]:
    moments = live.moments[-int(found.document["window_count"]) :] if found.document["window_count"] else live.moments
    alerts = [
        {"code": code, "metric": "feed", "value": None, "threshold": None, "message": sentence}
        for code, sentence in feed
    ]
    return {
        **found.document,
        "alerts": [*alerts, *found.document["alerts"]],
        "schema_version": 1,
        "at": at.astimezone(UTC).isoformat(),
        "family": champion.family,
        "promotion_id": champion.promotion_id,
        "candidate_id": champion.candidate_id,
        "model_sha256": champion.model_sha256,
        "data_sha256": digest,
        "rows": live.rows,
        "window_from": None if not moments.size else f"{moments[0]}Z",
        "window_to": None if not moments.size else f"{moments[-1]}Z",
    }


def _recorded(
    registry: Registry, champion: Champion, document: dict[str, Any], codes: tuple[str, ...], action: str, live: Live,
    path: str, clock: Clock,
) -> int:  # fmt: skip
    metrics = {name: document[name] for name in ("risk", "drift", "limits", "window_count", "judged", "data_sha256")}
    with registry.writing() as session:
        return looks.add(
            session, family=champion.family, promotion_id=champion.promotion_id, at=clock.now(),
            window=(_moment(document["window_from"]), _moment(document["window_to"])), rows=live.rows, metrics=metrics,
            codes=codes, action=action, path=path,
        )  # fmt: skip


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Files:
    """Files to compare: the reference, what is live, and perhaps the summary that its run wrote."""

    reference: Path
    live: Path
    summary: Path | None = None
    column: str = "realised_return"


def compare(given: Files, rules: Rules) -> Look:
    """The newest returns of a file against those of another; what its operations summary says is added.

    Raises:
        BadInput, NotFound, NoData: a file is not there, or holds no returns.
    """
    found = judged(_returns(given.reference, given.column), _returns(given.live, given.column), rules)
    codes, document = list(found.codes), found.document
    if given.summary is not None:
        summary = read_document(given.summary, "operations summary")
        told = [one for one in summary.get("alerts") or [] if isinstance(one, dict)]
        document["operations_alerts"] = told or list(summary.get("triggered") or [])
        codes += [str(one.get("code", "?")) for one in told] or ["operations_alert"] * bool(
            document["operations_alerts"]
        )
        if isinstance(summary.get("guardrails"), dict):
            document["guardrails"] = summary["guardrails"]
    said = watch(alerts=codes)
    document["action"], document["sentence"] = said.action, said.sentence
    unique = tuple(dict.fromkeys(codes))
    return Look(None, said.action, said.sentence, unique, int(document["window_count"]), document, None, None)


def _returns(path: Path, column: str) -> Floats:
    """Returns of a file: of the portfolio per moment where it has moments, else as they stand."""
    frame = read_predictions(path)
    if column not in frame.columns:
        raise BadInput(
            f"{path} has no column `{column}` (it has {', '.join(map(str, frame.columns[:12]))}); name it with --return-col.",
            code="missing_column",
        )
    if any(name in frame.columns for name in TIMESTAMPS):
        return rows_of(frame, Columns(returns=column)).path.returns.values
    return numbers(frame, column)
