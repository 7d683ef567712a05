"""What does a dead letter say about its runs, and how is it tried again, over HTTP?"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from plms_pipeline.access.principals import Principal
from plms_pipeline.access.routes import State, requires
from plms_pipeline.letters.actions import showing
from plms_pipeline.letters.actions.deciding import letter_named, require_retryable
from plms_pipeline.letters.routes import LETTER, LetterName, LetterOut
from plms_pipeline.runs.letters.actions import require_here, runs_of
from plms_pipeline.runs.letters.service import Retrier
from plms_pipeline.runs.routes.start import worlds_of
from plms_pipeline.runs.stopping.actions import known_stop

router = APIRouter(tags=["dead letters"])


class DecidedOut(BaseModel):
    """What somebody did about a letter."""

    at: str
    by: str
    what: str = Field(description="letter.stop, letter.reset, letter.quarantine or letter.retry.")
    why: str | None = Field(description="The reason; null where none is asked for.")


class InspectedOut(LetterOut):
    """One dead letter with the runs that it is about and what people decided."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        **LETTER, "runs": {"5a1e0c6e": "FAIL"},
        "decisions": [{"at": "2026-03-01T12:05:00+00:00", "by": "ann", "what": "letter.reset", "why": "it is back"}],
    }]})  # fmt: skip
    runs: dict[str, str] | None = Field(description="Run → status, from the first to the newest retry.")
    decisions: list[DecidedOut] = Field(description="What people did about it, the oldest first.")


class RetriedOut(BaseModel):
    """What became of the retry."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "letter_id": LETTER["letter_id"], "word": "begun", "said": "run 7b2c…, retry 2 of 3", "run_id": "7b2c9d4e",
    }]})  # fmt: skip
    letter_id: str
    word: str = Field(
        description="begun: it is under way; recovered: nothing is owed; postponed: not now, and it does not count; failed, "
        "given_up; overtaken: somebody else has it."
    )
    said: str
    run_id: str | None


@router.get("/api/dead-letters/{name}", response_model=InspectedOut, summary="One dead letter")
def inspect(name: LetterName, state: State, _principal: Annotated[Principal, requires("ops.view")]) -> dict[str, Any]:
    """Everything that is kept of it; 400 `letter_ambiguous` when several begin so."""
    letter = letter_named(state.registry, name)
    runs = dict(runs_of(state.registry, letter)) if letter.kind == "run" else None
    return showing.as_json(letter) | {"runs": runs, "decisions": showing.decisions_about(state.registry, letter)}


@router.post("/api/dead-letters/{name}/retry", response_model=RetriedOut, summary="Try a letter again now")
def retry(name: LetterName, state: State, principal: Annotated[Principal, requires("projects.start")]) -> Any:
    """Without waiting for its moment; the retry counts. A run that failed is started anew, under the guards of every start.

    Refused with 409: `never_retried`, `letter_put_aside`, `retry_under_way`, `letter_done`, `retried_by_dagster`.
    """
    letter = letter_named(state.registry, name)
    require_retryable(letter)
    require_here(letter)
    retrier = Retrier(
        state.settings, state.registry, state.clock, worlds_of(state).at_hand,
        lambda: known_stop(state.extras, state.settings.data_dir),
    )  # fmt: skip
    done = retrier.retry_now(letter, actor=principal.actor)
    state.nudge("dispatch", "settle")
    if not done.lines:
        return {"letter_id": letter.letter_id, "word": "overtaken", "said": "somebody else has it", "run_id": None}
    (line,) = done.lines
    return {"letter_id": line.letter_id, "word": line.word, "said": line.said, "run_id": line.run_id}
