"""How is everything that is due tried again, each once, whatever one of them does?

What is due is looked up once and claimed one by one: each letter has its turn once in a round, and one that takes long holds
up no lease but its own. A handler per kind knows how its
work is begun anew; an exception in one of them is that letter's failure and not the end of the round. The sources' version
ended after the first success.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from plms_pipeline.clock import Clock
from plms_pipeline.errors import Unavailable
from plms_pipeline.letters import store
from plms_pipeline.letters.rules import RETRIER, Letter
from plms_pipeline.registry.engine import Registry

log = logging.getLogger(__name__)
LEASE: Final = timedelta(minutes=2)
MOST_LETTERS: Final = 200
WAIT: Final = timedelta(seconds=30)
Word = Literal["begun", "recovered", "postponed", "failed", "given_up", "overtaken"]
WORDS: Final[tuple[Word, ...]] = ("begun", "recovered", "postponed", "failed", "given_up", "overtaken")


@dataclass(frozen=True, slots=True)
class Tried:
    """What a handler says about one letter.

    `begun`: the handler has noted in its own transaction that the retry is under way. `recovered`: nothing is owed any more.
    `postponed`: nothing was tried, and the retry does not count. `failed` counts; `given_up` ends the letter. `overtaken`:
    somebody else has it.
    """

    word: Word
    said: str
    run_id: str | None = None


Handler = Callable[[Letter], Tried]


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one letter in a round."""

    letter_id: str
    kind: str
    subject_id: str
    word: Word
    said: str
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did, letter by letter."""

    lines: tuple[Line, ...] = ()

    def count(self, word: Word) -> int:
        """How many letters came out so."""
        return sum(line.word == word for line in self.lines)

    @property
    def did_something(self) -> bool:
        """Whether another round may find more."""
        return any(line.word != "postponed" for line in self.lines)


def retry_due(
    registry: Registry,
    *,
    clock: Clock,
    holder: str,
    handlers: Mapping[str, Handler],
    only: Collection[str] | None = None,
    is_forced: bool = False,
    limit: int = MOST_LETTERS,
) -> Round:
    """Try again what is due, the longest due first.

    Args:
        holder: names this process in leases.
        handlers: kind → how its work is begun anew; other kinds are left alone.
        only: just these letters.
        is_forced: also those that wait for their moment.
        limit: how many at most.

    Raises:
        Unavailable: the registry is away; what was claimed is due again when its lease ends.
    """
    lines: list[Line] = []
    with registry.reading() as session:
        due = store.claimable(session, now=clock.now(), kinds=list(handlers), limit=limit, is_forced=is_forced)
    for letter_id in due if only is None else [one for one in only if is_forced or one in due]:
        with registry.writing() as session:
            now = clock.now()
            letter = store.claim(
                session, letter_id, holder=holder, now=now, lease_until=now + LEASE, is_forced=is_forced
            )  # fmt: skip
        if letter is None:
            continue
        tried = _tried(registry, clock, handlers[letter.kind], letter)
        lines.append(Line(letter.letter_id, letter.kind, letter.subject_id, tried.word, tried.said, tried.run_id))
    done = Round(tuple(lines))
    if done.lines:
        log.info("letters_retried %s", " ".join(f"{word}={done.count(word)}" for word in WORDS))
    return done


def _tried(registry: Registry, clock: Clock, handler: Handler, letter: Letter) -> Tried:
    try:
        tried = handler(letter)
    except Unavailable as error:
        tried = Tried("postponed", error.message)
    except Exception as error:
        log.warning("letter_not_retried letter_id=%s", letter.letter_id, exc_info=error)
        tried = Tried("failed", f"{type(error).__name__}: {error}")
    if tried.word in ("begun", "overtaken"):
        return tried
    now = clock.now()
    with registry.writing() as session:
        if tried.word == "recovered":
            is_ours = store.extend(session, letter, lease_until=now) and store.recover(
                session, letter.letter_id, now=now, actor=RETRIER
            )
        elif tried.word == "postponed":
            is_ours = store.postpone(session, letter, due_at=now + WAIT, said=tried.said)
        else:
            is_ours = store.fail(
                session, letter, tried.said, now=now, actor=RETRIER, is_final=tried.word == "given_up"
            )  # fmt: skip
    return tried if is_ours else Tried("overtaken", "somebody else has decided about it meanwhile")
