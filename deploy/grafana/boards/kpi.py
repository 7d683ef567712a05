"""KPI pass rate, per lane and day (guide 000, panel 3): stacked counts, and a trend that shows false alarms."""

from __future__ import annotations

from typing import Final

from deploy.grafana.parts import GREEN, ORANGE, RED, Board, Panel, prom, sql

KPI: Final = Board(
    uid="plms-kpi",
    title="PLMS KPI pass rate",
    about="What the gates said, by lane and day, and how often a person disagreed.",
    since="now-30d",
    refresh="5m",
    panels=(
        Panel(
            "Passed and failed, by lane and day", "Gates that were measured.",
            [sql("""
                SELECT to_char(date_trunc('day', k.measured_at), 'YYYY-MM-DD') || ' ' || k.lane_id AS day_and_lane,
                       sum(CASE WHEN k.pass THEN 1 ELSE 0 END) AS passed,
                       sum(CASE WHEN k.pass THEN 0 ELSE 1 END) AS failed
                  FROM kpi_receipts k WHERE $__timeFilter(k.measured_at)
                 GROUP BY 1 ORDER BY 1
            """)],
            draw="barchart", span=24, height=10,
        ),
        Panel(
            "Pass rate by lane and day", "The trend: a lane that falls while its work is as good as before has a wrong gate.",
            [sql("""
                SELECT date_trunc('day', k.measured_at) AS time, k.lane_id::text AS metric,
                       avg(CASE WHEN k.pass THEN 1.0 ELSE 0.0 END) AS value
                  FROM kpi_receipts k WHERE $__timeFilter(k.measured_at)
                 GROUP BY 1, 2 ORDER BY 1
            """, series=True)],
            unit="percentunit", least=0, most=1,
        ),
        Panel(
            "Pass rate by KPI", "Since the beginning of the time range.",
            [sql("""
                SELECT k.kpi_name, k.lane_id, count(*) AS measured,
                       round(100.0 * sum(CASE WHEN k.pass THEN 1 ELSE 0 END) / count(*), 1) AS pass_pct
                  FROM kpi_receipts k WHERE $__timeFilter(k.measured_at)
                 GROUP BY 1, 2 ORDER BY pass_pct
            """)],
            draw="table",
        ),
        Panel(
            "Failed verdicts and overrides by week",
            "A verdict that is let pass again and again is a false alarm: over 5 %, relax its gate.",
            [sql("""
                SELECT date_trunc('week', r.completed_at) AS week, count(*) AS judged,
                       sum(CASE WHEN r.validation = 'failed' THEN 1 ELSE 0 END) AS failed,
                       sum(CASE WHEN r.validation_pass_override THEN 1 ELSE 0 END) AS overridden
                  FROM project_runs r
                 WHERE r.validation IN ('passed', 'failed') AND $__timeFilter(r.completed_at)
                 GROUP BY 1 ORDER BY 1
            """)],
            draw="table",
        ),
        Panel(
            "Gates in the last day", "As Prometheus counted them.",
            [prom("sum by (lane, result) (increase(plms_kpi_gates_total[1d]))", "{{lane}} {{result}}", now=True)],
            draw="bars", steps=((None, GREEN),),
        ),
        Panel(
            "Pass rate of the last day", "Of all lanes.",
            [prom("""sum(increase(plms_kpi_gates_total{result="passed"}[1d]))
 / (sum(increase(plms_kpi_gates_total[1d])) > 0)""", "pass rate", now=True)],
            draw="stat", unit="percentunit", span=6, steps=((None, RED), (0.8, ORANGE), (0.9, GREEN)),
        ),
        Panel(
            "Blocking failures in the last day", "Their projects need review.",
            [prom('sum(increase(plms_kpi_gates_total{result="failed", blocks="true"}[1d]))', "blocking", now=True)],
            draw="stat", span=6, steps=((None, GREEN), (1, ORANGE)),
        ),
    ),
)  # fmt: skip
