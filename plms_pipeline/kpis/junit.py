"""How many tests passed, and may we believe the report?

pytest writes JUnit XML from inside the process that runs the artifact's code, so the report may be forged. Three things
are demanded before it counts: it holds every test that the source promises, our canaries (tests of ours put among the
artifact's, one that must pass and one that must fail) came out as they must, and pytest ended with the code that a failed
canary brings. That catches `os._exit(0)`, a report printed or written beforehand, hooks that turn every outcome green,
deleted and deselected tests. It cannot catch code that rewrites pytest in memory and spares our canaries on purpose, no
more than it can catch a test that asserts nothing: whoever writes the tests of an artifact can write empty ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

from plms_pipeline.kpis.measurement import Measurement, unmeasured

MAXIMUM_REPORT = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """One test of a report; `name` is `package.module[.Class]::function[parameters]`."""

    name: str
    outcome: str  # passed, failed, error, skipped
    message: str = ""

    @property
    def base(self) -> str:
        """The name without parameters."""
        return self.name.partition("[")[0]


@dataclass(frozen=True, slots=True)
class Canaries:
    """Names of the tests that we put among the artifact's: `passing` must pass, `failing` must fail."""

    passing: frozenset[str]
    failing: frozenset[str]


def parse_junit(data: bytes) -> list[Case]:
    """The cases of a JUnit XML report.

    Raises:
        ValueError: no XML, no JUnit report, too large, or with a document type (entities can expand without end).
    """
    if len(data) > MAXIMUM_REPORT:
        raise ValueError("the report is too large")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("the report declares a document type, which pytest never does")
    try:
        root = ElementTree.fromstring(data)  # noqa: S314  no document type, so nothing to expand
    except ElementTree.ParseError as error:
        raise ValueError(f"the report is not XML ({error})") from None
    if root.tag not in ("testsuites", "testsuite"):
        raise ValueError(f"the report is not JUnit XML but <{root.tag[:40]}>")
    return [_case(element) for element in root.iter("testcase")]


def _case(element: ElementTree.Element) -> Case:
    classname, name = element.get("classname", ""), element.get("name", "")
    outcome, message = "passed", ""
    for tag, said in (("error", "error"), ("failure", "failed"), ("skipped", "skipped")):
        found = element.find(tag)
        if found is not None:
            outcome, message = said, found.get("message", "")
            break
    return Case(f"{classname}::{name}" if classname else name, outcome, message)


def measure_tests(report: bytes, *, exit_code: int | None, promised: Counter[str], canaries: Canaries) -> Measurement:
    """Passed tests / all tests, or why the report cannot be believed.

    All tests are those promised and those reported. Not passed are failures, errors (also of collection), skipped and
    expected-to-fail tests, and promised ones that the report does not hold: a test that did not run shows nothing.

    Args:
        report: the JUnit XML.
        exit_code: what pytest ended with; 1 is right, because a canary must fail.
        promised: how many cases of each test (name without parameters) the source defines.
        canaries: ours.
    """
    try:
        cases = parse_junit(report)
    except ValueError as error:
        return unmeasured(f"the test report cannot be believed: {error}")
    ours = canaries.passing | canaries.failing
    seen = {case.name: case.outcome for case in cases if case.name in ours}
    wrong = [name for name in canaries.passing if seen.get(name) != "passed"]
    wrong += [name for name in canaries.failing if seen.get(name) != "failed"]
    theirs = [_known(case, promised) for case in cases if case.name not in ours]
    log = _log(theirs)
    if not theirs and not promised:
        return unmeasured("no tests found", log=log)
    if wrong or exit_code != 1 or _doubled(cases, ours):
        return unmeasured(
            "the test report cannot be believed: control tests that were put among the artifact's did not come out as "
            "they must, so something in its test code ends the run early or changes outcomes",
            log=log,
        )
    reported = Counter(case.base for case in theirs)
    absent = {name: count - reported[name] for name, count in sorted(promised.items()) if count > reported[name]}
    passed = sum(case.outcome == "passed" for case in theirs)
    total = len(theirs) + sum(absent.values())
    return Measurement(passed / total, _reason(theirs, absent, passed, total), log=log + _absent_log(absent))


def _doubled(cases: Iterable[Case], ours: frozenset[str]) -> bool:
    counts = Counter(case.name for case in cases if case.name in ours)
    return any(count > 1 for count in counts.values())


def _known(case: Case, promised: Counter[str]) -> Case:
    """A passed case that no source defines shows nothing: it counts as an error."""
    if case.outcome == "passed" and case.base not in promised:
        return Case(case.name, "error", "reported as passed, but no source defines it")
    return case


def _reason(cases: list[Case], absent: dict[str, int], passed: int, total: int) -> str | None:
    if passed == total:
        return None
    counts = Counter(case.outcome for case in cases if case.outcome != "passed")
    counts["missing from the report"] = sum(absent.values())
    named = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    first = next((case.name for case in cases if case.outcome != "passed"), next(iter(absent), ""))
    return f"{passed} of {total} tests passed ({named}); first: {first}"


def _log(cases: list[Case]) -> str:
    return "".join(f"{case.outcome:8} {case.name} {case.message[:200]}".rstrip() + "\n" for case in cases[:2000])


def _absent_log(absent: dict[str, int]) -> str:
    return "".join(f"missing  {name} ({count} cases)\n" for name, count in list(absent.items())[:2000])


def parse_collected(output: str) -> Counter[str]:
    """Cases per test (name without parameters) in the output of `pytest --collect-only -q`."""
    found: Counter[str] = Counter()
    for line in output.splitlines():
        path, separator, rest = line.strip().partition("::")
        if separator and path.endswith(".py"):
            *classes, name = rest.partition("[")[0].split("::")
            found[".".join([path.removesuffix(".py").replace("/", "."), *classes]) + "::" + name] += 1
    return found
