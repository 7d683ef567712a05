"""Do errors carry what a script and a person need?"""

from __future__ import annotations

import pytest

from plms_pipeline import errors
from plms_pipeline.errors import (
    BadInput,
    Conflict,
    Forbidden,
    NoData,
    NotFound,
    PlmsError,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    VerdictNo,
)


@pytest.mark.parametrize(("kind", "exit_code"), [(VerdictNo, 1), (BadInput, 2), (NoData, 3), (Unavailable, 4)])
def test_each_kind_of_no_has_its_exit_code(kind: type[PlmsError], exit_code: int) -> None:
    """Cron jobs page on 1 and retry on 4; mixing them up wakes somebody for nothing, or nobody."""
    error = kind("The thing broke the rule; do this.")
    assert (error.exit_code, error.message, str(error)) == (exit_code, *["The thing broke the rule; do this."] * 2)
    assert isinstance(error, PlmsError)


def test_codes_are_stable_and_distinct() -> None:
    """Clients match on codes: two kinds with one code cannot be told apart."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PlmsError)]
    codes = [kind.default_code for kind in kinds]
    assert len(set(codes)) == len(codes) == 11


@pytest.mark.parametrize(
    ("kind", "exit_code", "http_status"),
    [(NotFound, 2, 404), (Conflict, 1, 409), (Unprocessable, 2, 422), (Unauthenticated, 2, 401), (Forbidden, 1, 403)],
)
def test_what_http_tells_apart_has_its_status(kind: type[PlmsError], exit_code: int, http_status: int) -> None:
    """The same refusal reaches a script as an exit code and a client as a status; neither may contradict the other."""
    error = kind("The thing broke the rule; do this.")
    assert (error.exit_code, error.http_status) == (exit_code, http_status)


def test_code_and_exit_code_can_be_given() -> None:
    """One family, so that every part can be as precise as it needs."""
    error = PlmsError("Stop.", code="interrupted", exit_code=130)
    assert (error.code, error.exit_code) == ("interrupted", 130)
    assert PlmsError("Fine.", exit_code=0).exit_code == 0
