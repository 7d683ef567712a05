"""How does this project say that something is wrong?

One family with stable codes, so that a command, an HTTP answer and a Dagster run tell the same story. Each message
names the thing, the rule and the remedy; the exit code says to scripts what kind of "no" it was.
"""

from __future__ import annotations


class PlmsError(Exception):
    """An error that a person can act upon.

    Args:
        message: one sentence or two that name the thing, the rule and the remedy.
        code: stable, machine-readable name (`snake_case`); the class default when omitted.
        exit_code: what the command line exits with; the class default when omitted.
        http_status: the status of the same "no" over HTTP; the class default when omitted.
        retry_after_s: seconds after which trying again makes sense; None when it never does.
    """

    default_code = "error"
    default_exit_code = 2
    default_http_status = 500

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        exit_code: int | None = None,
        http_status: int | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.exit_code = self.default_exit_code if exit_code is None else exit_code
        self.http_status = self.default_http_status if http_status is None else http_status
        self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self.args[0])


class VerdictNo(PlmsError):
    """The question was understood and the answer is no (exit 1)."""

    default_code = "verdict_no"
    default_exit_code = 1
    default_http_status = 409


class BadInput(PlmsError):
    """Bad use or bad input (exit 2)."""

    default_code = "bad_input"
    default_exit_code = 2
    default_http_status = 400


class NoData(PlmsError):
    """There is nothing to answer from (exit 3): never to be read as success."""

    default_code = "no_data"
    default_exit_code = 3
    default_http_status = 404


class Unavailable(PlmsError):
    """A system that is needed is away (exit 4)."""

    default_code = "unavailable"
    default_exit_code = 4
    default_http_status = 503


class NotFound(BadInput):
    """What was named does not exist (exit 2, HTTP 404)."""

    default_code = "not_found"
    default_http_status = 404


class Conflict(VerdictNo):
    """The state of what was named forbids it now (exit 1, HTTP 409)."""

    default_code = "conflict"


class Unprocessable(BadInput):
    """Well formed, but it contradicts what was said before or breaks a rule of the contract (exit 2, HTTP 422)."""

    default_code = "unprocessable"
    default_http_status = 422


class Unauthenticated(BadInput):
    """Nobody we know asked (exit 2, HTTP 401)."""

    default_code = "unauthenticated"
    default_http_status = 401


class Forbidden(VerdictNo):
    """Somebody we know asked for what they may not do (exit 1, HTTP 403)."""

    default_code = "forbidden"
    default_http_status = 403


class Interrupted(PlmsError):
    """Somebody pressed Control-C (exit 130); the message says what is to be done so that nothing happens twice."""

    default_code = "interrupted"
    default_exit_code = 130
