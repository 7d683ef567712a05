"""One value for books, receipt, terminal and night."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from plms_pipeline.kpis.evaluation import AWAY, Evaluation, InboxItem, KpiResult, failures, gates_digest
from plms_pipeline.kpis.gates import Condition, Gate, echo_gate
from plms_pipeline.kpis.measurement import Measurement, unmeasured

RATE = Gate("test_pass_rate", (Condition(">=", 0.9),))
LINT = Gate("linter_pass", (Condition("==", True),))
FOUND = Evaluation(
    evaluation_id="e1", artifact="a", lane_id=4200, lane_name="Code-API", task_id="7", run_id=None, verdict="failed",
    kpis=(KpiResult(LINT, Measurement(True), "/logs/l"), KpiResult(RATE, unmeasured("no tests found"))),
    echo=KpiResult(echo_gate(enforced=False), unmeasured("no input")), artifact_sha256="aa", gates_sha256="bb", notes=("n",),
    isolation=("limits",), measured_at=datetime(2026, 3, 1, tzinfo=UTC),
)  # fmt: skip


def test_the_receipt_has_the_fields_of_the_sources() -> None:
    """Scripts of others read them by these names."""
    receipt = FOUND.as_json()
    assert json.loads(json.dumps(receipt, allow_nan=False)) == receipt
    assert receipt["task_id"] == 7
    assert receipt["lane"] == 4200
    assert receipt["timestamp"] == "2026-03-01T00:00:00+00:00"
    assert receipt["kpis"][0] == {
        "name": "linter_pass", "value": True, "threshold": True, "operator": "==", "pass": True, "blocks": True,
        "logs_path": "/logs/l", "reason": None,
    }  # fmt: skip
    assert receipt["kpis"][1]["value"] is None
    assert receipt["kpis"][1]["reason"] == "no tests found"
    assert set(receipt["echo"]) == {"cos", "threshold", "pass", "blocks", "reason"}


def test_an_echo_that_was_neither_measured_nor_asked_is_no_row() -> None:
    """Thousands of rows "no input" would drown the pass rates."""
    assert FOUND.recorded == FOUND.kpis
    measured = replace(FOUND, echo=KpiResult(echo_gate(enforced=False), Measurement(0.9)))
    assert measured.recorded[-1].gate.kpi == "echo_cosine"
    enforced = replace(FOUND, echo=KpiResult(echo_gate(enforced=True), unmeasured("no input")))
    assert enforced.recorded[-1].passed is False


def test_what_was_away_is_marked_as_such() -> None:
    """The night tries those again."""
    away = KpiResult(RATE, unmeasured("no database", away=True))
    assert away.reason == AWAY + "no database"
    assert failures((away,)) == f"test_pass_rate: {AWAY}no database"
    assert failures((KpiResult(RATE, Measurement(1.0)),)) is None


def test_a_broken_artifact_has_one_line_that_says_why() -> None:
    """It must be seen in the report of the night, not vanish from its table."""
    shown = InboxItem("x", "broken", "failed", None, "not a folder").as_json()
    [line] = shown["kpis"]
    assert line["pass"] is False
    assert line["reason"] == "not a folder"
    assert {"name", "value", "operator", "threshold"} <= set(line)


def test_the_digest_changes_with_everything_that_decides() -> None:
    """Otherwise a stricter gate would leave old verdicts standing."""

    def digest(**changes: object) -> str:
        base: dict[str, object] = {
            "lane_id": 4200, "gates": [RATE], "echo": echo_gate(enforced=False), "task_id": None, "run_id": None,
            "systems": ["a", "b"],
        }  # fmt: skip
        return gates_digest(**{**base, **changes})  # type: ignore[arg-type]

    stricter = Gate("test_pass_rate", (Condition(">=", 0.95),))
    advising = Gate("test_pass_rate", (Condition(">=", 0.9),), blocks=False)
    digests = [
        digest(), digest(lane_id=4201), digest(gates=[stricter]), digest(gates=[advising]), digest(gates=[RATE, LINT]),
        digest(echo=echo_gate(enforced=True)), digest(task_id="1"), digest(run_id="1"), digest(systems=["a", "c"]),
    ]  # fmt: skip
    assert len(set(digests)) == len(digests)
    assert digest() == digest()
