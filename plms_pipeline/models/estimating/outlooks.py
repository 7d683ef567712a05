"""What does a model of estimates say of every task it knows, once it has read all receipts by now?

The same functions that judged it: effects are read off rows that are put behind the history, one for each word, where no
other effect of the task can reach them; what is left of the receipts is summarised as the priors summarise them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from plms_pipeline.estimates.backtest import backtest
from plms_pipeline.estimates.outlook import Heard, summaries_of
from plms_pipeline.estimates.state import Cell
from plms_pipeline.estimates.summary import Summary
from plms_pipeline.measures import Basis
from plms_pipeline.models.estimating.effects import COMPONENTS, Explained, explain, levels_of
from plms_pipeline.models.estimating.forecasting import moved
from plms_pipeline.models.estimating.history import History
from plms_pipeline.models.estimating.model import Part

WORDS: Final = ("kind", "complexity", "task")
PAIRS: Final[Mapping[str, str]] = {"provider_kind": "kind", "provider_task": "task"}
# A provider that nobody is called, so that no row behind the history leans on a real one.
NOBODY: Final = "\x00nobody"
# (component, provider, word)
Asked = tuple[str, str, str]


def heard(history: History, part: Part, bases: Iterable[Basis], *, at: datetime) -> dict[Basis, Heard]:
    """What the model of a measure says at a moment, for some bases.

    Args:
        history: what was completed by `at`.
    """
    asked = _asked(history)
    explained = explain(_with(history, asked, at), part.scatter)
    n = len(history)
    effects, pairs = _effects(asked, explained.effect[n:])
    slopes = {
        "" if provider == NOBODY else provider: float(slope)
        for (name, provider, _), slope in zip(asked, explained.slope[n:], strict=True)
        if name == "provider"
    }
    seen = Explained(explained.effect[:n], explained.slope[:n], 0.0)
    found = {}
    for basis in bases:
        trust = part.trust[basis]
        cells, corrections = _left(history, basis, seen, part, at)
        found[basis] = Heard(trust.share, trust.by_slope, effects, pairs, slopes, cells, corrections)
    return found


def _asked(history: History) -> list[Asked]:
    """Every word and pair that has an effect of its own, then every provider."""
    numbers = levels_of(history).numbers
    found: dict[Asked, None] = {}
    for name in (*WORDS, *PAIRS):
        place = COMPONENTS.index(name)
        words = getattr(history, PAIRS.get(name, name))
        for row in np.flatnonzero(numbers[:, place] >= 0):
            found[name, str(history.provider[row]) if name in PAIRS else NOBODY, str(words[row])] = None
    providers = [("provider", name, "") for name in (NOBODY, *dict.fromkeys(history.provider.astype(str).tolist()))]
    return [*found, *providers]


def _with(history: History, asked: list[Asked], at: datetime) -> History:
    """The history with one row for each of these behind it, which begin now and of which nothing is learnt."""
    n, now = len(asked), round(at.timestamp() * 1000)

    def words(of: str) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
        found = [word if of in (name, PAIRS.get(name)) else "" for name, _, word in asked]
        return np.asarray([*found, None], dtype=object)[:-1]

    providers = np.asarray([*(provider for _, provider, _ in asked), None], dtype=object)[:-1]
    ended = max(now, int(history.completed_ms.max(initial=now))) + 1
    more = History(
        history.measure, np.full(n, -1, dtype=np.int64), providers, words("task"), words("kind"), words("complexity"),
        np.full(n, now, dtype=np.int64), np.full(n, ended, dtype=np.int64), np.ones(n),
        {basis: np.zeros(n, dtype=bool) for basis in history.taught},
    )  # fmt: skip
    return history.followed_by(more)


def _effects(
    asked: list[Asked], effect: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[tuple[str, str], float]]]:
    """Effects of words, and of pairs beyond those of their words."""
    alone: dict[str, dict[str, float]] = {name: {} for name in WORDS}
    pairs: dict[str, dict[tuple[str, str], float]] = {name: {} for name in PAIRS}
    for (name, provider, word), value in zip(asked, effect.tolist(), strict=True):
        if name in alone:
            alone[name][word] = value
        elif name in pairs:
            # Words stand before pairs, so that of a pair is what its word does not say.
            pairs[name][provider, word] = value - alone[PAIRS[name]].get(word, 0.0)
    return alone, pairs


def _left(
    history: History, basis: Basis, explained: Explained, part: Part, at: datetime
) -> tuple[dict[Cell, Summary], dict[int, float]]:
    """The receipts without the effect of their task: what is remembered of them, and the corrections of their intervals."""
    factor = np.exp(moved(explained, part.trust[basis])[history.taught[basis]])
    outcomes = history.outcomes(basis)
    left = replace(outcomes, value=outcomes.value / factor)
    cells = summaries_of(left.lane_id.tolist(), left.provider.astype(str).tolist(), left.value, history.measure)
    found = backtest(left, history.measure, today=at.astimezone(UTC).date())
    return cells, {lane: one.value for lane, one in found.corrections.items()}
