"""How is the executor called so that no call is lost and none counts twice?

Every call carries its own key (a card's key, a run's id), so the answer to an ambiguous timeout is to send the same thing
again: the executor says `duplicate`. Attempts are bounded, wait with full jitter, honour Retry-After, and stop at once
while the circuit breaker is open. Two failures look alike and are not: "the executor does not know this run" (`None`) and
"what answers there is no executor" (`PasUnavailable`): reading every 404 as the first would fail all runs because of one
misspelt URL.

Dialects: `pas` speaks /pas/v1; `architect` submits a whole run to the guide's /pas/architect/submit, which mints its own
run id. There `submit_run` needs all cards and answers with the executor's id, which is what every later call takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from plms_pipeline.access.deadline.client import Deadlines
from plms_pipeline.access.retry_after import retry_after_s
from plms_pipeline.errors import PlmsError, Unavailable
from plms_pipeline.pas import breaker as breakers
from plms_pipeline.pas.breaker import Breaker, BreakerPolicy
from plms_pipeline.pas.protocol import (
    ARCHITECT_PATH,
    BASE_PATH,
    ArchitectSubmission,
    CardAccepted,
    CardReference,
    Health,
    JobCard,
    ProviderState,
    RunAccepted,
    RunAnswer,
    RunReference,
    RunStatus,
    StartRun,
    problem_of,
)

Dialect = Literal["pas", "architect"]
M = TypeVar("M", bound=BaseModel)

MAX_ANSWER: Final = 64 * 1024 * 1024
LONGEST_CALL_S: Final = 30.0
ATTEMPTS: Final = 4
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0
RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
UNKNOWN_RUN: Final = "run_not_found"
_SOURCE_SENTENCE: Final = "Run not found"


class PasUnavailable(Unavailable):
    """The executor does not answer, or what answers is none. Trying the same call later is safe.

    `is_ambiguous` says that the call may have had its effect all the same.
    """

    default_code = "pas_unavailable"

    def __init__(
        self, message: str, *, code: str | None = None, retry_after_s: int | None = None, is_ambiguous: bool = False
    ) -> None:
        super().__init__(message, code=code, retry_after_s=retry_after_s)
        self.is_ambiguous = is_ambiguous


class PasRefused(PlmsError):
    """The executor understood and refuses: the same call will be refused again. `pas_code` is its own word for why."""

    default_code = "pas_refused"
    default_exit_code = 1
    default_http_status = 502

    def __init__(self, message: str, *, status: int, pas_code: str) -> None:
        super().__init__(message)
        self.status = status
        self.pas_code = pas_code


class PasClient:
    """One executor over HTTP. Safe to share between threads; close it when done.

    Args:
        url: base address, such as `http://127.0.0.1:6200`.
        sleep: waits the given seconds between attempts.
        chance: a new number in [0, 1) at each call, for the jitter.
        monotonic_s: seconds of a clock that never jumps, for the breaker.
        token: bearer token, or None for an executor without authentication.
        timeout_s: for connecting, and again for each read.
        longest_s: for a whole call with its repetitions, however slowly bytes come; default 30 s or three times `timeout_s`.
        dialect: see the module's text.
        policy: when the circuit breaker opens.
        attempts: how often one call is tried at most.
        transport: another way to reach the server (an in-process application in tests).
    """

    def __init__(
        self,
        url: str,
        *,
        sleep: Callable[[float], None],
        chance: Callable[[], float],
        monotonic_s: Callable[[], float],
        token: str | None = None,
        timeout_s: float = 10.0,
        longest_s: float | None = None,
        dialect: Dialect = "pas",
        policy: BreakerPolicy | None = None,
        attempts: int = ATTEMPTS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self.dialect: Dialect = dialect
        self._url = url.rstrip("/")
        self._sleep, self._chance, self._monotonic_s = sleep, chance, monotonic_s
        self._attempts = max(1, attempts)
        self._policy = policy or BreakerPolicy()
        self._breaker = Breaker()
        self._longest_s = max(LONGEST_CALL_S, 3 * timeout_s) if longest_s is None else longest_s
        self._deadlines = Deadlines(monotonic_s)
        # A redirect is not followed: it would carry the token to another host.
        self._http = httpx.Client(
            timeout=timeout_s, follow_redirects=False, trust_env=False, headers=headers,
            transport=transport or self._deadlines.transport(),
        )  # fmt: skip

    def __enter__(self) -> PasClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def takes_whole_runs(self) -> bool:
        """Whether `submit_run` must be given all cards, and `submit_card` does not exist (dialect `architect`)."""
        return self.dialect == "architect"

    @property
    def breaker(self) -> Breaker:
        """The state of the circuit breaker, for health pages."""
        return self._breaker

    def health(self) -> Health:
        """Whether the executor works, and its capabilities (`pause_task`, `cancel_card`, …).

        Raises:
            PasUnavailable: it does not answer.
        """
        return self._ask(Health, "GET", "/health")

    def submit_run(self, start: StartRun, cards: Sequence[JobCard] = ()) -> RunAccepted:
        """Announce a run; with dialect `architect` submit it whole. Sending the same again is answered `duplicate`.

        Args:
            start: the run.
            cards: all of its cards; only dialect `architect` reads them.

        Returns:
            The executor's run id: ours, or one of its own to be kept as an alias.

        Raises:
            PasUnavailable: no answer after all attempts; submit the same again later.
            PasRefused: refused for good (another body under this run id, an unknown run_kind, no tasks).
        """
        if not self.takes_whole_runs:
            accepted = self._ask(RunAccepted, "POST", "/runs/start", body=start, key=start.run_id)
            if accepted.run_id != start.run_id:
                raise PasUnavailable(
                    f"the executor answers to run {start.run_id} with another run; with PLMS_PAS_DIALECT=architect it may.",
                    code="pas_bad_answer",
                    is_ambiguous=True,
                )
            return accepted
        whole = ArchitectSubmission(**start.model_dump(exclude={"tasks_total"}), tasks=tuple(cards))
        return self._ask(RunAccepted, "POST", ARCHITECT_PATH, body=whole, key=start.run_id, base="")

    def submit_card(self, card: JobCard) -> CardAccepted:
        """Submit one card. The same card again is answered `duplicate` with the same `pas_task_id`.

        Raises:
            PasUnavailable: no answer after all attempts (`is_ambiguous`: it may have arrived); submit the same again later.
            PasRefused: refused for good: another body under this key, an unknown lane or dependency, a cycle, an ended run.
        """
        if self.takes_whole_runs:
            raise PasRefused(
                "PLMS_PAS_DIALECT=architect takes whole runs only: submit the cards with the run.",
                status=405, pas_code="whole_runs_only",
            )  # fmt: skip
        return self._ask(CardAccepted, "POST", "/jobcards", body=card, key=card.card_key)

    def run_status(self, run_id: str) -> RunStatus | None:
        """The run with its tasks and receipts as the executor sees it now; None when it does not know the run.

        Raises:
            PasUnavailable: no answer, or one that is not an executor's; this never means that the run is unknown.
        """
        try:
            return self._ask(RunStatus, "GET", f"/runs/status?run_id={quote(run_id, safe='')}")
        except PasRefused as refused:
            if refused.pas_code == UNKNOWN_RUN:
                return None
            raise

    def pause(self, run_id: str, reason: str = "") -> RunAnswer:
        """Stop the run's work until `resume`. Raises PasRefused when it has ended or is unknown, else PasUnavailable."""
        return self._ask(RunAnswer, "POST", "/runs/pause", body=RunReference(run_id=run_id, reason=reason))

    def resume(self, run_id: str, reason: str = "") -> RunAnswer:
        """Go on with a paused run. Raises PasRefused when it has ended or is unknown, else PasUnavailable."""
        return self._ask(RunAnswer, "POST", "/runs/resume", body=RunReference(run_id=run_id, reason=reason))

    def terminate(self, run_id: str, reason: str) -> RunAnswer:
        """End the run now; the answer says its state, which for a run that had ended before is that earlier end.

        Raises PasRefused when it is unknown, else PasUnavailable.
        """
        return self._ask(RunAnswer, "POST", "/runs/terminate", body=RunReference(run_id=run_id, reason=reason))

    def cancel_card(self, run_id: str, task_id: str, attempt: int = 1) -> CardAccepted:
        """End one card now; one that had ended before stays as it is. Raises PasRefused when it is unknown."""
        return self._card("/jobcards/cancel", run_id, task_id, attempt)

    def pause_task(self, run_id: str, task_id: str, attempt: int = 1) -> CardAccepted:
        """Stop one card until `resume_task` (capability `pause_task`). Raises PasRefused when it is unknown or has ended."""
        return self._card("/tasks/pause", run_id, task_id, attempt)

    def resume_task(self, run_id: str, task_id: str, attempt: int = 1) -> CardAccepted:
        """Go on with one paused card. Raises PasRefused when it is unknown or has ended."""
        return self._card("/tasks/resume", run_id, task_id, attempt)

    def provider_state(self) -> ProviderState:
        """Which version of each provider the executor routes to now. Raises PasUnavailable."""
        return self._ask(ProviderState, "GET", "/providers")

    def _card(self, path: str, run_id: str, task_id: str, attempt: int) -> CardAccepted:
        return self._ask(
            CardAccepted, "POST", path, body=CardReference(run_id=run_id, task_id=task_id, attempt=attempt)
        )

    def _ask(
        self,
        shape: type[M],
        method: str,
        path: str,
        *,
        body: BaseModel | None = None,
        key: str | None = None,
        base: str = BASE_PATH,
    ) -> M:
        data = self._call(method, base + path, body, key)
        try:
            return shape.model_validate(data)
        except ValidationError as error:
            raise PasUnavailable(
                f"the executor's answer to {method} {path.partition('?')[0]} is not one ({problem_of(error)}).",
                code="pas_bad_answer", is_ambiguous=method != "GET",
            ) from None  # fmt: skip

    def _call(self, method: str, path: str, body: BaseModel | None, key: str | None) -> dict[str, Any]:
        """One call with its attempts; the JSON object of a 2xx answer."""
        failure, wait_s, ambiguous, tried = "", 0.0, False, 0
        until_s = self._monotonic_s() + self._longest_s
        for attempt in range(self._attempts):
            if attempt:
                if self._monotonic_s() + wait_s >= until_s:
                    break
                self._sleep(wait_s)
            self._pass_breaker(ambiguous)
            tried += 1
            try:
                response, data = self._send(method, path, body, key, until_s)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                self._record(is_good=False)
                failure = type(error).__name__
                ambiguous = ambiguous or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                wait_s = self._jitter(attempt)
                continue
            self._record(is_good=response.status_code < 500)
            if response.status_code not in RETRIED:
                return _object(response.status_code, data)
            failure = f"status {response.status_code}"
            ambiguous = ambiguous or response.status_code >= 500
            asked = retry_after_s(response.headers)
            if asked is not None and asked > LONGEST_WAIT_S:
                raise PasUnavailable(
                    f"the executor asks to wait {asked:.0f} s ({failure}).",
                    code="pas_busy", retry_after_s=round(asked), is_ambiguous=ambiguous,
                )  # fmt: skip
            wait_s = max(asked or 0.0, self._jitter(attempt))
        raise PasUnavailable(
            f"the executor at PLMS_PAS_URL does not answer ({failure}, {tried} attempt{'s' if tried > 1 else ''}); check that "
            "it runs and that the address is its own (`plms pas health` asks it).",
            is_ambiguous=ambiguous, retry_after_s=round(LONGEST_WAIT_S),
        )  # fmt: skip

    def _send(
        self, method: str, path: str, body: BaseModel | None, key: str | None, until_s: float
    ) -> tuple[httpx.Response, bytes]:
        headers = {} if key is None else {"Idempotency-Key": key}
        content = None
        if body is not None:
            content = body.model_dump_json(by_alias=False)
            headers["Content-Type"] = "application/json"
        # Each read may be fast enough, and there are ever more of them: whoever asked holds a claim meanwhile.
        with (
            self._deadlines.until(until_s),
            self._http.stream(method, self._url + path, content=content, headers=headers) as response,
        ):
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if self._monotonic_s() > until_s:
                    raise httpx.ReadTimeout("the answer does not end")
                if len(data) > MAX_ANSWER:
                    raise PasUnavailable(
                        f"the executor answers with more than {MAX_ANSWER} bytes", code="pas_bad_answer"
                    )
            return response, bytes(data)

    def _jitter(self, attempt: int) -> float:
        """Full jitter: anything between nothing and the exponential bound, so that many clients do not come in step."""
        return self._chance() * min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**attempt)

    def _pass_breaker(self, ambiguous: bool) -> None:  # noqa: FBT001 - private
        passage = breakers.ask(self._breaker, self._policy, self._monotonic_s())
        # Two threads may swap this attribute at once: at worst one count is lost or a second probe passes.
        self._breaker = passage.breaker
        if not passage.may_pass:
            raise PasUnavailable(
                f"the executor failed {self._breaker.failures} times in a row and is left alone for "
                f"{passage.wait_s:.0f} s more.",
                code="pas_breaker_open", retry_after_s=max(1, round(passage.wait_s)), is_ambiguous=ambiguous,
            )  # fmt: skip

    def _record(self, *, is_good: bool) -> None:
        if is_good:
            self._breaker = breakers.succeeded(self._breaker)
        else:
            self._breaker = breakers.failed(self._breaker, self._policy, self._monotonic_s())


def _object(status: int, data: bytes) -> dict[str, Any]:
    """The JSON object of a final answer.

    Raises:
        PasRefused: a 4xx in the executor's words.
        PasUnavailable: not JSON, not an object, or a status that no executor gives.
    """
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        if 200 <= status < 300:
            return answer
        detail = answer.get("detail")
        code = answer.get("code")
        if status == 404 and not code and detail == _SOURCE_SENTENCE:
            code = UNKNOWN_RUN
        # Any server may lack a path, and say so with a code: only what the executor lacks is a refusal.
        is_elsewhere = status == 404 and code in (None, "", "not_found")
        if 400 <= status < 500 and not is_elsewhere and status not in (401, 403, 405):
            shown = detail if isinstance(detail, str) else json.dumps(detail)
            raise PasRefused(
                f"the executor refuses: {shown[:500]}", status=status, pas_code=str(code or f"status_{status}")
            )
    if status in (401, 403):
        raise PasUnavailable("the executor refuses our token; check PLMS_PAS_TOKEN.", code="pas_unauthenticated")
    raise PasUnavailable(
        f"what answers at PLMS_PAS_URL is not an executor (status {status}); check the address.", code="pas_bad_answer"
    )
