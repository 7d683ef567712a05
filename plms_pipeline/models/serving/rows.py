"""Which bars does a prediction look at, when somebody sends the newest ones?

Features look back a hundred bars and their exponential means further still, so nobody who has just one new bar could ask
anything. What was sent is therefore laid over the newest bars of the snapshot: a bar that stands in both is the sender's,
because a vendor corrects the past. As much of the past is kept as a number can notice. A row that cannot be is an error that
names it and not a row that is quietly left out, because the answer would then be about an older bar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from plms_pipeline.errors import BadInput, NoData, Unprocessable
from plms_pipeline.models.market.bars import NUMBERS, UNIT, Bars, RawBars, canonical, merge, select
from plms_pipeline.models.market.checks import examine
from plms_pipeline.models.market.findings import errors
from plms_pipeline.models.serving.past import holes, later, newest
from plms_pipeline.models.serving.served import History, Served
from plms_pipeline.models.training.features import WARM_UP
from plms_pipeline.models.training.scoring import Scores, score, scores_of

# The slowest mean (span 50) forgets a factor of 49/51 a bar: after a thousand bars what came before weighs less than 1e-17.
TAIL: Final = 1_000 + WARM_UP
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The scores of what was asked for, and the symbols that have none, each with the reason."""

    scores: Scores
    unscored: Mapping[str, str]


def tail(bars: Bars, count: int = TAIL) -> Bars:
    """The newest bars of each symbol, at most `count`."""
    ends = np.repeat(bars.starts[1:], np.diff(bars.starts))
    return canonical(bars.raw().take(np.asarray(ends - np.arange(bars.count) <= count)))


def raw_of(rows: Sequence[Mapping[str, Any]]) -> RawBars:
    """Rows of a request as bars that nobody has checked yet; `timestamp` is an aware datetime, `extras` a mapping."""
    names = sorted({name for row in rows for name in row["extras"]})
    return RawBars(
        np.array([_instant(row["timestamp"]) for row in rows], dtype=UNIT),
        np.array([row["symbol"] for row in rows], dtype=object),
        {name: np.array([row[name] for row in rows], dtype=np.float64) for name in NUMBERS},
        {name: np.array([row["extras"].get(name, np.nan) for row in rows], dtype=np.float64) for name in names},
    )


def _instant(moment: datetime) -> np.datetime64:
    offset = moment.utcoffset()
    return np.datetime64(moment.replace(tzinfo=None) - offset if offset else moment.replace(tzinfo=None), "us")


def checked(raw: RawBars, *, as_of: datetime) -> Bars:
    """Bars that were sent.

    Args:
        as_of: the present, aware: what a bar of tomorrow says, nobody knows today.

    Raises:
        Unprocessable: a row cannot be; the message names row and rule.
    """
    try:
        found = examine(raw, as_of=_instant(as_of), is_whole=False)
    except NoData as error:
        raise Unprocessable(error.message, code="bars_not_valid") from None
    wrong = errors(found.findings)
    if wrong:
        told = " ".join(one.sentence for one in wrong)
        raise Unprocessable(f"{found.rejected.rows.count} of the bars cannot be used. {told}", code="bars_not_valid")
    return found.bars


def asked_bars(history: Bars | None, sent: Bars | None, symbols: Sequence[str] | None) -> Bars:
    """The bars that a request is about: the history of its symbols with what was sent laid over it.

    Args:
        history: the newest bars of the snapshot; None: there is none, or the sender wants none.
        sent: what was sent, if anything: then its symbols are meant.
        symbols: of the snapshot; all when omitted.

    Raises:
        Unprocessable: nothing was sent and there is no history, or a symbol is unknown.
    """
    if sent is None:
        if history is None:
            raise Unprocessable(
                "There is no history to score: you want none, or the snapshot of the champion's data was removed. Send "
                f"`bars`, at least {WARM_UP + 1} of each symbol.",
                code="no_history",
            )
        try:
            return select(history, symbols)
        except BadInput as error:
            raise Unprocessable(error.message, code=error.code) from None
    if history is None:
        return sent
    known = [name for name in sent.symbols if name in history.symbols]
    return merge(select(history, known), sent) if known else sent


def answered(served: Served, known: History, sent: Bars | None, symbols: Sequence[str] | None, *, last: int) -> Scored:
    """Score what a request is about, from what was looked at before where that is possible.

    Args:
        known: the history, if there is one and the sender wants it.
        sent: what was sent, if anything: then its symbols are meant.
        symbols: of the history; all when omitted.
        last: how many of the newest bars of each.

    Raises:
        Unprocessable: as `asked_bars` and `scored`.
    """
    found = None
    if known.past is not None:
        found = newest(known.past, symbols, last) if sent is None else later(known.past, sent, last)
    # Who cannot be answered is told why by whoever looks at the bars themselves.
    if known.past is None or found is None or not found.usable.any():
        return scored(served, asked_bars(known.bars, sent, symbols), last=last)
    trading, target, chosen = served.experiment.trading, served.experiment.target, found.take(found.usable)
    scores = scores_of(
        served.model, chosen.symbols, chosen.window_end, chosen.values, chosen.volatility, k=trading.k,
        horizon=target.horizon,
    )  # fmt: skip
    ends = dict(zip(found.symbols, found.window_end, strict=True))
    counts = {name: rows.stop - rows.start for name, rows in known.past.slices.items() if name in ends}
    if sent is not None:
        counts = {name: counts[name] + rows.stop - rows.start for name, rows in sent.slices()}
    return Scored(scores, _unscored(scores, ends, counts))


def gaps(known: History, sent: Bars | None) -> dict[str, str]:
    """Symbols between whose history and whose bars that were sent something is missing, in words.

    A feature takes the next bar for the next one: a return over a month that nobody sent is a return of one bar to it.
    """
    if sent is None or known.past is None:
        return {}
    return {
        name: f"nothing is known between {_text(before)} and {_text(after)}, and features take these for neighbours; send "
        "what lies between, too"
        for name, (before, after) in holes(known.past, sent).items()
    }


def scored(served: Served, bars: Bars, *, last: int) -> Scored:
    """Score the newest bars of each symbol.

    Args:
        last: how many of each.

    Raises:
        Unprocessable: the bars lack a signal that the model needs, or none of them can be scored.
    """
    trading, target = served.experiment.trading, served.experiment.target
    try:
        scores = score(served.model, bars, k=trading.k, horizon=target.horizon, last=last)
    except (BadInput, NoData) as error:
        raise Unprocessable(error.message, code=error.code) from None
    ends = {name: bars.timestamp[rows.stop - 1] for name, rows in bars.slices()}
    counts = {name: rows.stop - rows.start for name, rows in bars.slices()}
    return Scored(scores, _unscored(scores, ends, counts))


def _unscored(scores: Scores, ends: Mapping[str, np.datetime64], counts: Mapping[str, int]) -> dict[str, str]:
    """The symbols whose newest bar has no score, each with the reason.

    Args:
        ends: the newest bar of each symbol.
        counts: how many bars each has.
    """
    told = dict(zip(scores.symbols, scores.window_end, strict=True))
    unscored = {}
    for name, end in ends.items():
        if counts[name] <= WARM_UP:
            unscored[name] = f"it has {counts[name]} bars, and features look back {WARM_UP}"
        elif told.get(name) != end:
            unscored[name] = f"its newest bar, {_text(end)}, has no features: a signal is missing, or it stands still"
    return unscored


def predictions(found: Scores) -> list[dict[str, Any]]:
    """The scores, as JSON has them; `pred_step_1` in deviations of the target, returns as fractions."""
    return [
        {
            "symbol": symbol, "window_end": _text(when), "pred_step_1": one, "predicted_return": by, "position": held,
            "volatility": spread,
        }
        for symbol, when, one, by, held, spread in zip(
            found.symbols, found.window_end, found.score.tolist(), found.predicted_return.tolist(),
            found.position.tolist(), found.volatility.tolist(), strict=True,
        )
    ]  # fmt: skip


def _text(moment: np.datetime64) -> str:
    """As every parser of RFC 3339 reads it: with the time of day, and fractions of a second only where there are any."""
    whole = moment.astype("datetime64[s]")
    return f"{np.datetime_as_string(whole if whole == moment else moment)}Z"


def told(unscored: Mapping[str, str]) -> str:
    """Which symbols could not be scored, for people."""
    shown = [f"{name}: {why}" for name, why in list(unscored.items())[:_SHOWN]]
    return "; ".join(shown) + (f"; and {len(unscored) - _SHOWN} more" if len(unscored) > _SHOWN else "")
