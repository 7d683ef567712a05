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
    """

    default_code = "error"
    default_exit_code = 2

    def __init__(self, message: str, *, code: str | None = None, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.exit_code = self.default_exit_code if exit_code is None else exit_code

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self.args[0])


class VerdictNo(PlmsError):
    """The question was understood and the answer is no (exit 1)."""

    default_code = "verdict_no"
    default_exit_code = 1


class BadInput(PlmsError):
    """Bad use or bad input (exit 2)."""

    default_code = "bad_input"
    default_exit_code = 2


class NoData(PlmsError):
    """There is nothing to answer from (exit 3): never to be read as success."""

    default_code = "no_data"
    default_exit_code = 3


class Unavailable(PlmsError):
    """A system that is needed is away (exit 4)."""

    default_code = "unavailable"
    default_exit_code = 4
