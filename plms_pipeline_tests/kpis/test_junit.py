"""A report counts only when it can be believed."""

from __future__ import annotations

from collections import Counter
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.kpis.junit import Canaries, measure_tests, parse_junit

OURS = Canaries(frozenset({"tests.c::ok"}), frozenset({"tests.c::bad"}))
CANARY_CASES = [("tests.c::ok", "passed"), ("tests.c::bad", "failed")]
TAGS = {
    "failed": "<failure message='m'/>",
    "error": "<error message='m'/>",
    "skipped": "<skipped message='m'/>",
    "passed": "",
}


def report(cases: list[tuple[str, str]]) -> bytes:
    body = ""
    for name, outcome in cases:
        classname, _, function = name.rpartition("::")
        body += (
            f"<testcase classname={quoteattr(classname)} name={quoteattr(function or name)}>{TAGS[outcome]}</testcase>"
        )
    return f"<testsuites><testsuite>{body}</testsuite></testsuites>".encode()


def measured(
    cases: list[tuple[str, str]], promised: dict[str, int] | None = None, exit_code: int = 1, canaries: bool = True
):
    names = Counter(name.partition("[")[0] for name, _ in cases) if promised is None else Counter(promised)
    return measure_tests(
        report([*cases, *(CANARY_CASES if canaries else [])]), exit_code=exit_code, promised=names, canaries=OURS
    )


@given(st.lists(st.sampled_from(sorted(TAGS)), min_size=1, max_size=30))
def test_the_rate_is_passed_over_all(outcomes: list[str]) -> None:
    """Skipped, expected-to-fail and broken tests show nothing, so they are not passed; the maximum of failures is no matter."""
    found = measured([(f"tests.a::test_{number}", outcome) for number, outcome in enumerate(outcomes)])
    assert found.value == pytest.approx(outcomes.count("passed") / len(outcomes))


def test_promised_tests_that_are_not_reported_count_as_failed() -> None:
    """A conftest that deselects or deletes the failing tests would otherwise get a perfect score."""
    found = measured([("tests.a::test_1", "passed")], {"tests.a::test_1": 1, "tests.a::test_2": 3})
    assert found.value == 0.25
    assert "3 missing from the report" in str(found.reason)


def test_passed_tests_that_no_source_defines_do_not_count() -> None:
    """Invented tests would dilute the failing ones."""
    found = measured(
        [("tests.a::test_1", "failed"), *[(f"tests.a::ghost_{n}", "passed") for n in range(9)]], {"tests.a::test_1": 1}
    )
    assert found.value == 0.0


def test_collection_errors_count_as_failures() -> None:
    """pytest reports a broken file as one error without a class."""
    found = measured([("tests.a::test_1", "passed"), ("tests.broken", "error")], {"tests.a::test_1": 1})
    assert found.value == 0.5


def test_no_tests_is_a_reason_and_not_zero() -> None:
    """The original answered 0.0 for an empty folder, as if ten tests had failed."""
    found = measured([], {})
    assert found.value is None
    assert found.reason == "no tests found"


@pytest.mark.parametrize(
    "canary_cases",
    [
        [],
        [("tests.c::ok", "passed")],
        [("tests.c::ok", "passed"), ("tests.c::bad", "passed")],
        [("tests.c::ok", "failed"), ("tests.c::bad", "failed")],
        [("tests.c::ok", "passed"), ("tests.c::bad", "skipped")],
        [*CANARY_CASES, *CANARY_CASES],
    ],
)
def test_a_report_whose_canaries_are_wrong_is_not_believed(canary_cases: list[tuple[str, str]]) -> None:
    """Hooks that turn every outcome green, and reports that were written beforehand, give themselves away."""
    data = report([("tests.a::test_1", "passed"), *canary_cases])
    found = measure_tests(data, exit_code=1, promised=Counter({"tests.a::test_1": 1}), canaries=OURS)
    assert found.value is None
    assert "cannot be believed" in str(found.reason)


@pytest.mark.parametrize("exit_code", [0, 2, 3, 4, 5, None, 137])
def test_the_exit_code_must_be_that_of_a_failed_canary(exit_code: int | None) -> None:
    """`os._exit(0)` beside a report of one's own making."""
    assert measured([("tests.a::test_1", "passed")], exit_code=exit_code).value is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"all 5 tests passed",
        b"<html/>",
        b"<testsuites><testcase",
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuites>&b;</testsuites>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuites/>',
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_no_junit_report_is_not_believed(data: bytes) -> None:
    """Also a billion laughs."""
    with pytest.raises(ValueError):
        parse_junit(data)
    found = measure_tests(data, exit_code=1, promised=Counter({"tests.a::t": 1}), canaries=OURS)
    assert found.value is None


def test_the_reason_names_the_first_failing_test() -> None:
    """Who is called at night wants to know where to look."""
    found = measured([("tests.a::test_1", "passed"), ("tests.a::test_2[x]", "failed")])
    assert found.reason == "1 of 2 tests passed (1 failed); first: tests.a::test_2[x]"
