"""What is wrong with what answers, and what is to be done about it?

For whoever is woken: `degraded` by itself only says that somebody has to look. Each reason has a stable code and one sentence
that names the thing, what it means for the answers, and the remedy.
"""

from __future__ import annotations

from dataclasses import dataclass

from plms_pipeline.errors import PlmsError
from plms_pipeline.models.records import Switch
from plms_pipeline.models.serving.served import Entry, Served
from plms_pipeline.models.training.features import WARM_UP

_RESTORE = "Restore what is named, or go back with `plms model rollback`."


@dataclass(frozen=True, slots=True)
class Unverified:
    """A champion that could not be read or no longer is what was decided about: when that was tried, and why it failed.

    `tried_s` in seconds on a clock that never jumps.
    """

    entry: Entry
    tried_s: float
    error: PlmsError


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is not as it should be: a stable code, and a sentence for people."""

    code: str
    detail: str


def reasons(
    served: Served | None, refused: Unverified | None, unread: PlmsError | None, switch: Switch
) -> tuple[Reason, ...]:
    """Everything that is wrong, what hurts most first.

    Args:
        served: the model that answers.
        refused: the promoted one that could not be verified.
        unread: why the registry could not be read the last time.
        switch: the guardrails, as they were last read.
    """
    found = []
    if refused is not None:
        found.append(Reason(refused.error.code, _unverified(served, refused)))
    elif served is None and unread is None:
        found.append(Reason("no_champion", "No model was promoted yet; `plms model list` shows what waits."))
    if unread is not None:
        said = "Nobody answers before it was read once." if served is None else "What serves goes on serving."
        found.append(
            Reason(
                unread.code,
                f"The registry cannot be read, so promotions, rollbacks and the guardrails' switch are not seen. {said} "
                f"{unread.message}",
            )
        )
    if not switch.enabled:
        by, why = f" by {switch.by}" if switch.by else "", f": {switch.reason}" if switch.reason else ""
        found.append(
            Reason(
                "guardrails_disabled",
                f"Guardrails are switched off{by}{why}. No book is judged or cut, and nothing is promoted, until "
                "`plms model guardrails on`.",
            )
        )
    if served is not None and served.history is None:
        found.append(
            Reason(
                "no_history",
                f"The snapshot of the model's data, market_snapshots/{served.entry.data_sha256}.parquet, is gone: `/predict` "
                f"scores only what is sent with its past, {WARM_UP + 1} bars of each symbol. Restore the file.",
            )
        )
    return tuple(found)


def _unverified(served: Served | None, refused: Unverified) -> str:
    number = refused.entry.sequence
    if served is None:
        return f"The promoted model (number {number}) cannot be verified, and none answers. {refused.error.message} {_RESTORE}"
    if served.entry == refused.entry:
        return (
            f"The files of the model that answers (number {number}) are not what was read from them; it goes on from memory "
            f"and will not come back after a restart. {refused.error.message} {_RESTORE}"
        )
    return (
        f"The promoted model (number {number}) cannot be verified; number {served.entry.sequence} goes on answering. "
        f"{refused.error.message} {_RESTORE}"
    )
