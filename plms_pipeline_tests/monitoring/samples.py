"""A night's documents as the assets hand them over, small enough to read."""

from __future__ import annotations

from typing import Any

from plms_pipeline.monitoring.summary import Documents

CELL = {"n": 120, "coverage_90": 0.9, "winkler": 1.0, "mae": 0.2}
OVERALL = {**CELL, "winkler_prototype": 2.0, "winkler_ratio": 0.5, "crps": 0.1, "pit": [6.0] * 20}


# As `calibration_dataset` hands it over: rules are counted per basis.
DATASET: dict[str, Any] = {
    "days": 3,
    "stale_days": [],
    "receipts": 124,
    "included": {"effort": 118, "spend": 122},
    "tasks": {"effort": 118, "spend": 100},
    "excluded": {"effort": {"judged_good": 4, "real_run": 2}, "spend": {"real_run": 2}},
    "cells": [{"lane_id": 4200, "provider": "m<script>", "effort": 118, "spend": 122}],
}


def invariants(*, broken: int = 0) -> dict[str, Any]:
    checks = {
        "every_run_has_a_passport": {
            "passed": broken == 0,
            "checked": 10,
            "violations": broken,
            "errors": ["run <b>r1</b>"] * broken,
            "remedy": "Import its file again.",
        },
        "run_kind_is_known": {"passed": True, "checked": 10, "violations": 0, "errors": []},
    }
    failed = 1 if broken else 0
    return {
        "checks": checks,
        "summary": {
            "total_checks": 2, "passed_checks": 2 - failed, "failed_checks": failed, "total_violations": broken,
            "status": "fail" if failed else "pass",
        },
    }  # fmt: skip


def documents(*, broken: int = 0) -> Documents:
    interval = {"n": 120, "mean": 0.3, "median": 0.2, "low": 0.05, "high": 0.9}
    return Documents(
        receipt_days={"written": 3},
        calibration_dataset=DATASET,
        priors={
            "priors": [
                {"lane_id": 4200, "lane": "Code-API", "provider": "m<script>", "basis": "effort", "n": 120,
                 "cost_usd": interval,
                 "duration_ms": {**interval, "median": 60_000.0, "low": 1e4, "high": 3e5}, "tokens": None},
                {"lane_id": None, "lane": None, "provider": "*", "basis": "effort", "n": 120,
                 "cost_usd": interval,
                 "duration_ms": None, "tokens": None},
            ]
        },
        calibration_backtest={
            "calibration": {"cost_usd": {"overall": OVERALL, "lanes": {"4200": CELL}},
                            "tokens": {"overall": {"n": 0}, "lanes": {}}},
            "calibration_all_receipts": {"cost_usd": {"overall": OVERALL, "lanes": {"4200": CELL}}},
        },
        kpi_evaluations={
            "artifacts": [
                {"artifact": "a1", "lane_id": 4202, "state": "evaluated", "verdict": "failed",
                 "kpis": [{"name": "readability", "value": None, "operator": "<=", "threshold": 10.0, "pass": False,
                           "reason": "generated_docs.md is missing"}]},
            ]
        },
        kpi_pass_rates={"rows": [{"lane_id": 4202, "kpi_name": "readability", "n": 1, "pass_rate": 0.0}]},
        invariants_report=invariants(broken=broken),
    )  # fmt: skip
