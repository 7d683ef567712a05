"""What was asked, may it be asked so, and what is the answer?

The rules of a start that need neither database nor clock: the form of an Idempotency-Key, the digest of a body, the kinds of
run, and the fields of the answer. The prototype's cache key left the client's key out and held the body instead: a second
legitimate run was impossible for a day, and the same key with another body silently started a new one. Here what makes a
request unique is (user, method, path, key), and the body's digest only tells a repetition from a contradiction.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from plms_pipeline.errors import BadInput, Interrupted, Unprocessable
from plms_pipeline.registry.tables.vocabulary import RUN_KINDS
from plms_pipeline.runs.lifecycle import STARTABLE
from plms_pipeline.runs.passport import sha256_of

KeyForm = Literal["uuid", "any"]
METHOD: Final = "POST"
# The sources' word for a run that was started; that it still waits for its turn is what GET …/runs says.
STARTED: Final = "executing"
_VISIBLE = re.compile(r"[\x21-\x7e]{8,255}")


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A start as it was asked for.

    `key` is the Idempotency-Key as it came; `body` everything that the client sent, unknown fields included: they are ignored
    by the start but belong to the body that a repetition must repeat. `tasks` restricts the run to some tasks of the plan
    (a canary's sample); None means all.
    """

    project_id: int
    key: str | None
    run_kind: str = "baseline"
    write_sandbox: bool = False
    body: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None
    tasks: frozenset[str] | None = None
    rehearsal_pct: float | None = None
    strata_coverage: float | None = None
    parent_run_id: str | None = None
    # What the run is to its parent; None: a hotfix or a replay of it, as its kind says.
    relation: str | None = None
    # Which plan and providers a replay insists on: what differs refuses the start (see runs.replaying).
    expected_prd_sha: str | None = None

    @property
    def unique_path(self) -> str:
        """The path under which the key is unique: that of the endpoint, for every way of asking."""
        return self.path or start_path(self.project_id)

    @property
    def body_sha256(self) -> str:
        """The digest of the body in canonical form.

        Raises:
            Unprocessable: it holds a number that JSON does not know (`NaN`, `Infinity`).
        """
        try:
            return sha256_of(dict(self.body))
        except ValueError:
            raise Unprocessable("The body holds NaN or Infinity, which is no JSON.", code="not_json") from None


@dataclass(frozen=True, slots=True)
class StartAnswer:
    """What a start is answered, now and whenever it is repeated."""

    status_code: int
    body: dict[str, Any]
    replayed: bool

    @property
    def run_id(self) -> str:
        """The run that this key stands for."""
        return str(self.body["run_id"])


def start_path(project_id: int) -> str:
    """The path of the endpoint that starts a run of a project."""
    return f"/api/projects/{project_id}/start"


def passport_path(run_id: str) -> str:
    """Where the copy of a passport for people lies, below the data directory."""
    return f"artifacts/{run_id}/passport.json"


def checked_key(key: str | None, form: KeyForm) -> str:
    """The key, if it has the form that is asked for. A UUID is the same key in upper and lower case.

    Raises:
        BadInput: it is absent or malformed (`invalid_idempotency_key`, 400).
    """
    if key is not None and form == "any" and _VISIBLE.fullmatch(key):
        return key
    if key is not None and form == "uuid" and len(key) == 36:
        try:
            return str(uuid.UUID(key))
        except ValueError:
            pass
    rule = "a UUID" if form == "uuid" else "8 to 255 visible ASCII characters"
    raise BadInput(
        f"Invalid or missing Idempotency-Key header: it must be {rule}, new for each start and the same when one is repeated.",
        code="invalid_idempotency_key",
    )


@contextmanager
def repeatable(key: str) -> Iterator[None]:
    """Around a command that starts something: who interrupts it is told the key that makes the next one a repetition.

    Raises:
        Interrupted: Control-C was pressed.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"Interrupted; what was started goes on (`plms run list`). Repeat the command with --key {key}: then nothing "
            "starts twice."
        ) from None


def require_sound(request: StartRequest) -> None:
    """Refuse what no project can admit.

    Raises:
        BadInput: an unknown kind of run (`invalid run_kind`, the sources' sentence).
        Unprocessable: a baseline in the sandbox: its receipts would never teach, and the books forbid it.
    """
    if request.run_kind not in RUN_KINDS:
        raise BadInput("invalid run_kind", code="invalid_run_kind")
    if request.run_kind == "baseline" and request.write_sandbox:
        raise Unprocessable(
            "A baseline never runs in the sandbox: start it with write_sandbox false, or as a rehearsal.",
            code="baseline_in_sandbox",
        )


def answer_body(run_id: str, matrix: Mapping[str, str | None], card_keys: Sequence[str]) -> dict[str, Any]:
    """The sources' answer to a start."""
    return {
        "status": STARTED,
        "run_id": run_id,
        "provider_matrix": dict(matrix),
        "replay_passport_path": passport_path(run_id),
        "pas_job_cards": list(card_keys),
    }


def startable_states(run_kind: str, *, is_repetition: bool = False) -> frozenset[str]:
    """The project states in which a run may start. A completed project's runs may be repeated, which changes nothing of it."""
    return STARTABLE | {"completed"} if run_kind == "replay" and is_repetition else STARTABLE


def moves_project(run_kind: str, *, write_sandbox: bool) -> bool:
    """Whether such a run is the project's work: rehearsals, replays and all in the sandbox leave the project where it is."""
    return run_kind in ("baseline", "hotfix") and not write_sandbox
