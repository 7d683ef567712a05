"""What does an answer to the page look like? The examples of the OpenAPI document and of docs/hmi.md."""

from __future__ import annotations

from typing import Any, Final

AT: Final = "2026-03-01T12:00:00+00:00"
RUN: Final = "3f2b8c1e-5a49-4f0e-9d55-0a4b6d2f7c11"
MODEL: Final = "8d1f0b6a-2c57-4e83-b1a9-7f40d9c3e652"
_SHA: Final = "9c14a20125cb34a3606cb8e15a823ea46a3ad26e1c81437d49bd0498194aef87"
_TASKS: Final = {"done": 12, "failed": 0, "running": 3, "waiting": 11, "skipped": 0}

ABOUT: Final[dict[str, Any]] = {
    "version": "0.1.0", "now": AT, "auth": "jwt", "dagster_url": "http://127.0.0.1:3000", "beat_s": 5.0,
    "has_alerts": True,
}  # fmt: skip
PROJECTS: Final[dict[str, Any]] = {
    "as_of": AT,
    "projects": [
        {
            "project_id": 42, "name": "Calculator API", "status": "executing", "owner": "ana@example.com", "is_paused": False,
            "pause_reason": None, "breach_policy": "pause",
            "run": {"run_id": RUN, "status": "RUNNING", "validation": "pending", "tasks": _TASKS}, "planned_tasks": 26,
            "budget": {"usd_max": 2.0, "usd_spent": 1.1, "usd_reserved": 0.36, "burn_per_min": 0.083},
            "runway": {
                "minutes_to_depletion": 10.84, "minutes_to_depletion_ci_90": [7.2, 19.5], "projected_overrun_usd": 0.32,
                "projected_overrun_pct": 16.0, "projected_final_usd": 2.32, "projected_final_ci_90": [2.01, 2.88],
                "overrun_probability": 0.95,
            },
            "left": {"tasks": 14, "tasks_without_forecast": 0, "repriced": []},
            "runway_status": "warning",
        }
    ],
    "gone": [], "in_all": 1,
}  # fmt: skip
PORTFOLIO: Final[dict[str, Any]] = {
    "as_of": AT, "running": 3, "waiting": 13,
    "lanes": [
        {
            "lane_id": 4200, "name": "Code-API", "description": "Write application code behind an interface.", "cap": 4,
            "is_active": True, "running": 3, "utilization": 0.75, "waiting": 13, "ready": 2, "oldest_wait_s": 41.2,
            "reasons": {"dependency": 11, "turn": 2},
        }
    ],
    "queue": [
        {
            "lane_id": 4200, "project_id": 42, "project": "Calculator API", "run_id": RUN, "task_id": "docs", "attempt": 1,
            "priority": 3, "place": None, "waited_s": 12.5, "reason": "dependency", "detail": "it depends on api",
        }
    ],
}  # fmt: skip
RISK: Final[dict[str, Any]] = {
    "as_of": AT, "lanes": [{"lane_id": 4200, "name": "Code-API"}],
    "projects": [
        {
            "project_id": 42, "name": "Calculator API",
            "cells": [
                {
                    "lane_id": 4200, "worst": "medium", "estimation_risk": "low", "execution_risk": "medium",
                    "validation_risk": "unknown",
                    "signals": {
                        "mae_pct": 0.12, "ci_width_pct": 0.28, "n": 30, "failed_or_repeated": 2, "gates_measured": 2,
                        "gates_failed": 0,
                    },
                }
            ],
        }
    ],
}  # fmt: skip
DRIFT: Final[dict[str, Any]] = {
    "as_of": AT,
    "lanes": [
        {
            "lane_id": 4200, "name": "Code-API",
            "history": [
                {"project_id": 40, "mae_pct": 0.16}, {"project_id": 41, "mae_pct": 0.14}, {"project_id": 42, "mae_pct": 0.12}
            ],
            "trend": "improving",
        }
    ],
}  # fmt: skip
RUNS: Final[dict[str, Any]] = {
    "as_of": AT,
    "runs": [
        {
            "run_id": RUN, "project_id": 42, "project_name": "Calculator API", "run_kind": "baseline", "status": "RUNNING",
            "validation": "pending", "is_let_pass": None, "write_sandbox": False, "created_at": AT, "started_at": AT,
            "completed_at": None, "tasks": _TASKS,
            "gates": [
                {
                    "kpi": "test_pass_rate", "measured": 4, "failed": 1, "blocks": True, "value": 0.9,
                    "threshold": {">=": 0.95}, "task_id": "divide", "reason": None,
                }
            ],
        }
    ],
}  # fmt: skip
INBOX: Final[dict[str, Any]] = {
    "as_of": AT,
    "counts": {
        "budget_breach": 1, "project_approval": 0, "kpi_override": 1, "failed_run": 0, "paused_project": 0,
        "dead_letter": 0, "candidate": 1, "lane_review": 0, "ungated_lane": 0,
    },
    "items": [
        {
            "id": "budget_breach:43", "kind": "budget_breach", "subject": "43",
            "title": "Invoice parser will pass its budget: may it go on?", "since": AT, "asked_by": "system:breach_policy",
            "project_id": 43, "project_name": "Invoice parser", "run_id": None, "lane_id": None,
            "lines": [
                {"label": "Spent", "value": 5.2, "unit": "USD"},
                {"label": "Budget", "value": 7.0, "unit": "USD"},
                {"label": "Expected in the end", "value": 9.1, "unit": "USD"},
                {"label": "At least (90 %)", "value": 8.4, "unit": "USD"},
                {"label": "At most (90 %)", "value": 11.3, "unit": "USD"},
                {"label": "Over by", "value": 2.1, "unit": "USD"},
                {"label": "Over the budget by", "value": 30.0, "unit": "%"},
                {"label": "Tasks left", "value": 6, "unit": "tasks"},
            ],
            "look": "/api/projects/43/budget-runway",
            "remedy": "It is held, and what was measured is of that moment. A budget that is raised enough lets it go on as "
            "well.",
            "actions": [
                {
                    "name": "go_on", "label": "Let it go on", "method": "POST",
                    "path": "/api/projects/43/budget-breach/answer", "scope": "approvals.write",
                    "body": {"answer": "go_on", "episode_id": "0f6a1e52-77c4-4b0e-8a7d-5b6f1c0d2e93"}, "tone": "primary",
                    "asks_reason": True, "binds_evidence": False, "fields": [], "may": True, "why_not": None,
                }
            ],
        },
        {
            "id": f"kpi_override:{RUN}", "kind": "kpi_override", "subject": RUN,
            "title": "Let run 3f2b8c1e pass although a gate failed", "since": AT, "asked_by": "ana@example.com",
            "project_id": 42, "project_name": "Calculator API", "run_id": RUN, "lane_id": None,
            "lines": [
                {"label": "Asked because", "value": "the test machine was broken", "unit": None},
                {"label": "Would teach the estimates", "value": "no", "unit": None},
            ],
            "look": f"/api/runs/{RUN}/kpi-override", "remedy": None,
            "actions": [
                {
                    "name": "approve", "label": "Let it pass", "method": "POST",
                    "path": f"/api/runs/{RUN}/kpi-override/decide", "scope": "kpi.override", "body": {"decision": "approve"},
                    "tone": "primary", "asks_reason": True, "binds_evidence": True, "fields": [], "may": False,
                    "why_not": "This takes the role approver.",
                }
            ],
        },
        {
            "id": f"candidate:{MODEL}", "kind": "candidate", "subject": MODEL, "title": "Decide about model 8d1f0b6a of market",
            "since": AT, "asked_by": "ana@example.com", "project_id": None, "project_name": None, "run_id": None,
            "lane_id": None,
            "lines": [
                {"label": "Recommended", "value": "risk review", "unit": None},
                {"label": "Gates", "value": "failed", "unit": None},
                {"label": "Kept from going live by", "value": "deflated_sharpe", "unit": None},
                {"label": "Alerts", "value": "", "unit": None},
                {"label": "Experiments on the same data", "value": 3, "unit": None},
                {"label": "Trained because", "value": "weekly", "unit": None},
                {"label": "Who asked for it", "value": None, "unit": None},
                {"label": "Decide until", "value": "2026-03-15T12:00:00+00:00", "unit": "moment"},
                {"label": "SHA-256 of its summary", "value": _SHA, "unit": None},
            ],
            "look": f"/api/models/candidates/{MODEL}",
            "remedy": "It cannot be approved as it is. Caps and a halt are decided in Dagster (decide_candidate) or with plms "
            "model decide.",
            "actions": [
                {
                    "name": "reject", "label": "Reject", "method": "POST", "path": f"/api/models/candidates/{MODEL}/decide",
                    "scope": "approvals.write", "body": {"decision": "reject"}, "tone": "danger", "asks_reason": True,
                    "binds_evidence": True,
                    "fields": [
                        {
                            "name": "role", "label": "You decide as", "kind": "choice", "value": "risk_lead",
                            "choices": ["risk_lead", "data_engineering", "trading_supervision", "portfolio_manager",
                                        "ml_engineer", "compliance"],
                        }
                    ],
                    "may": True, "why_not": None,
                }
            ],
        },
    ],
}  # fmt: skip
