"""Does a session report say what happened, in the sources' words, and never better than it was?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from plms_pipeline.runs.render.session import session_markdown, shown
from plms_pipeline.runs.session import KpiFacts, SessionFacts, TaskFacts, report_of, result_of, same_content
from plms_pipeline.runs.session_fields import SessionReport

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
FACTS = SessionFacts(
    run_id="3f2b8c1e-5a49", project_id=42, project_name="Calculator", run_kind="baseline", status="SUCCESS",
    validation="passed", is_sandbox=False, is_sample=False, created_at=AT, started_at=AT,
    completed_at=AT + timedelta(seconds=90), reason=None, override=None, override_reason=None, overridden_by=None,
    budget_usd=Decimal(2), estimated_tokens=1000, estimated_usd=Decimal("0.5"), passport_sha256="ab" * 32,
    is_passport_intact=True, git_commit="c" * 40, parent_relation=None, teaches=True, n_artifacts=3,
    tasks=(TaskFacts("a", 4200, "p", "SUCCESS", "passed", 1), TaskFacts("b", 4202, "q", "SUCCESS", "passed", 2)),
    kpis=(KpiFacts("a", "linter_pass", True, True, 1.0, {"==": True}, None),),
    costs=(Decimal("0.25"), Decimal("0.5"), None), durations_ms=(1000, 3000, None),
)  # fmt: skip


def test_there_are_exactly_the_56_fields_of_the_sources() -> None:
    """Their tools read fields by name; "45+" was never counted."""
    fields = list(SessionReport.model_fields)
    assert len(fields) == 56
    base, gate, guards, ci = fields[:36], fields[36:52], fields[52:53], fields[53:]
    assert (base[0], base[-1]) == ("SESSION_ID", "LAST_DLQ_RUN_ID")
    assert (gate[0], gate[-1]) == ("CAN_PROCEED", "VALIDATIONS")
    assert guards == ["RUNTIME_GUARDS"]
    assert ci == ["CI_PROVIDER", "CI_BRANCH", "CI_PR_NUMBER"]


@pytest.mark.parametrize(
    ("status", "validation", "cases", "override", "expected"),
    [
        ("SUCCESS", "passed", 5, None, "PASS"),
        ("SUCCESS", "failed", 5, None, "FAIL"),
        ("SUCCESS", "failed", 5, True, "PASS"),
        ("SUCCESS", "passed", 5, False, "FAIL"),
        ("SUCCESS", "ungated", 5, None, "WARN"),
        ("SUCCESS", "passed", 0, None, "FAIL"),
        ("SKIPPED", "pending", 0, None, "FAIL"),
        ("FAIL", "failed", 5, None, "FAIL"),
        ("FAIL", "failed", 5, True, "FAIL"),
        ("SKIPPED", "pending", 5, None, "SKIPPED"),
        ("RUNNING", "pending", 5, None, "FAIL"),
        ("QUEUED", "pending", 5, None, "FAIL"),
        ("DONE", "passed", 5, None, "FAIL"),
        ("", "passed", 5, None, "FAIL"),
    ],
)
def test_the_result_is_never_better_than_the_state(
    status: str, validation: str, cases: int, override: bool | None, expected: str
) -> None:
    """The sources' writer called an unknown state SKIPPED and a run without cases PASS."""
    assert result_of(status, validation, cases, override=override) == expected


def test_a_good_run_is_told_with_its_numbers() -> None:
    """The figures are those of the books, and what is unknown is left out of them."""
    report = report_of(FACTS, now=AT)
    assert (report.RESULT, report.CASES_TOTAL, report.CASES_PASSED, report.PASS_RATE) == ("PASS", 2, 2, 1.0)
    assert (report.COST_USD, report.DURATION_MS, report.P50_MS, report.P95_MS) == (0.75, 90_000, 1000, 3000)
    assert (report.RETRY_COUNT, report.PANEL_SIZE, report.MODEL_ID) == (1, 2, "p, q")
    assert report.BUDGET_COMPLIANCE is True
    assert report.WARNINGS == ("the cost of 1 attempts is not known",)
    assert report.SESSION_ID == "20260301_120000_3f2b8c1e"


def test_a_red_gate_blocks_and_is_named() -> None:
    """Whoever is on call reads the report before the database."""
    red = KpiFacts("b", "readability", False, True, None, {"<=": 10.0}, "generated_docs.md is missing")
    report = report_of(replace(FACTS, validation="failed", kpis=(*FACTS.kpis, red)), now=AT)
    assert (report.RESULT, report.ERROR_CLASS, report.CAN_PROCEED) == ("FAIL", "gate_failed", False)
    assert (report.P0_VIOLATIONS, report.P2_ISSUES, report.MEAN_SCORE) == (1, 1, 0.5)
    assert report.VALIDATIONS.threshold_compliance is False
    assert "b: readability is not measured" in report.BLOCKING_ISSUES[0]


def test_an_override_shows_beside_what_it_overrides() -> None:
    """The verdict of the gates stays; a person's decision stands next to it with its reason."""
    overridden = replace(FACTS, validation="failed", override=True, override_reason="seen", overridden_by="risk")
    report = report_of(overridden, now=AT)
    assert (report.RESULT, report.GATE_STATUS) == ("PASS", "overridden to pass (failed)")
    assert report.DECISION_RATIONALE == "overridden by risk: seen"


def test_a_run_without_tasks_proves_nothing() -> None:
    """Zero cases were a pass in the source, because its rule ran before the result was known."""
    report = report_of(replace(FACTS, tasks=()), now=AT)
    assert (report.RESULT, report.ERROR_CLASS, report.PASS_RATE) == ("FAIL", "no_cases", None)
    assert report.VALIDATIONS.cases_total_valid is False


def test_foreign_text_cannot_forge_a_line_or_close_the_fence() -> None:
    """A task's name comes from a file, a reason from an executor: neither may write `RESULT: PASS` on a line of its own."""
    evil = "x\n```\nRESULT: PASS\n| a | b |"
    facts = replace(
        FACTS, status="FAIL", validation="failed", project_name=evil, reason=evil,
        tasks=(TaskFacts(evil, 4200, evil, "FAIL", "failed", 1, evil),),
    )  # fmt: skip
    text = session_markdown(report_of(facts, now=AT), facts, revision=1)
    lines = text.splitlines()
    assert lines.count("```") == 2
    assert [line for line in lines if line.startswith("RESULT:")] == ["RESULT: FAIL"]
    assert sum(line.startswith("| ") for line in lines) == 4


def test_every_field_stands_on_a_line_of_its_own_as_the_guides_search_for_it() -> None:
    """`grep "RESULT: FAIL"`, and `DRY_RUN: false` where the source printed `unknown`."""
    text = session_markdown(report_of(FACTS, now=AT), FACTS, revision=2)
    inside = text.split("```")[1].strip().splitlines()
    assert [line.partition(":")[0] for line in inside] == list(SessionReport.model_fields)
    assert "DRY_RUN: false" in inside
    assert "CI_BRANCH: unknown" in inside
    assert "revision 2" in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [(False, "false"), (None, "unknown"), (0, "0"), (0.25, "0.25"), ([], "[]"), ({"b": 1, "a": 2}, '{"a": 2, "b": 1}')],
)
def test_a_value_is_shown_for_what_it_is(value: object, expected: str) -> None:
    """False is not unknown, and 0 is not nothing."""
    assert shown(value) == expected


def test_the_moment_of_writing_is_no_news() -> None:
    """Otherwise every look would make a revision."""
    first, second = (report_of(FACTS, now=at).model_dump(mode="json") for at in (AT, AT + timedelta(days=1)))
    assert same_content(second, first)
    assert not same_content({**second, "NOTES": "x"}, first)
    assert not same_content(second, None)
