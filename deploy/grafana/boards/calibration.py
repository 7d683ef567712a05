"""Calibration drift, weekly (guide 000, panel 4): error sparklines per lane, and whether it falls."""

from __future__ import annotations

from typing import Final

from deploy.grafana.parts import GREEN, ORANGE, RED, Board, Panel, prom, sql

CALIBRATION: Final = Board(
    uid="plms-calibration",
    title="PLMS calibration drift",
    about="How far estimates are off, by lane, and whether they learn.",
    since="now-7d",
    refresh="5m",
    panels=(
        Panel(
            "Error of the estimates", "Mean absolute error of token estimates over seven days, by lane; over 30 % is told.",
            [prom("plms_calibration_mae_ratio", "{{lane}}")],
            draw="stat", unit="percentunit", span=24, steps=((None, GREEN), (0.15, ORANGE), (0.30, RED)),
        ),
        Panel(
            "Convergence", "Change of the error a day, over a week: below 0 it falls, which is good.",
            [prom("deriv(plms_calibration_mae_ratio[7d]) * 86400", "{{lane}}", now=True)],
            draw="bars", unit="percentunit", steps=((None, GREEN), (0.0001, ORANGE), (0.01, RED)),
        ),
        Panel(
            "Error over time", "The same, as lines.",
            [prom("plms_calibration_mae_ratio", "{{lane}}")], unit="percentunit", steps=((None, GREEN), (0.30, RED)), least=0,
        ),
        Panel(
            "Coverage of the 90 % intervals", "One step ahead, as the newest night found it: 88 to 92 % is right.",
            [prom('plms_calibration_coverage_ratio{lane="all"}', "{{basis}} {{measure}}", now=True)],
            draw="bars", unit="percentunit", steps=((None, RED), (0.85, ORANGE), (0.88, GREEN), (0.92, ORANGE), (0.95, RED)),
            least=0, most=1,
        ),
        Panel(
            "Coverage by lane", "Of effort, in tokens and dollars.",
            [prom('plms_calibration_coverage_ratio{lane!="all", basis="effort"}', "{{lane}} {{measure}}", now=True)],
            draw="bars", unit="percentunit", steps=((None, RED), (0.85, GREEN), (0.95, RED)), least=0, most=1,
        ),
        Panel(
            "Error by week and lane", "What successful attempts took beside what was estimated, in tokens.",
            [sql("""
                SELECT date_trunc('week', r.completed_at) AS week, r.lane_id, count(*) AS attempts,
                       round(sum(abs(r.tokens - e.estimated_tokens))::numeric / sum(e.estimated_tokens), 4) AS mae_ratio
                  FROM task_receipts r
                  JOIN task_plans p ON p.project_id = r.project_id AND p.task_key = r.task_id
                  JOIN task_estimates e ON e.id = p.task_estimate_id
                 WHERE r.source = 'plms' AND r.status = 'SUCCESS' AND r.tokens IS NOT NULL AND e.estimated_tokens > 0
                 GROUP BY 1, 2 ORDER BY 1 DESC, 2 LIMIT 200
            """)],
            draw="table", span=24,
        ),
    ),
)  # fmt: skip
