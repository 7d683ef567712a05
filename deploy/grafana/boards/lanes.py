"""Lanes, minute by minute (guide 000, panel 2 and section 2): utilization, queues, and what a review of caps asks for."""

from __future__ import annotations

from typing import Final

from deploy.grafana.parts import GREEN, ORANGE, RED, Board, Panel, prom, sql

LANES: Final = Board(
    uid="plms-lanes",
    title="PLMS lanes",
    about="How full the lanes are, who waits, and what to know before a cap is changed.",
    panels=(
        Panel(
            "Lane utilization", "Rows: lanes; columns: minutes; colour: share of the slots in use (0 to 100 %).",
            [prom("max by (lane) (plms_lane_utilization_ratio)", "{{lane}}")],
            draw="heatmap", unit="percentunit", span=24, height=10, step="1m",
        ),
        Panel(
            "Slots in use", "Beside the caps.",
            [prom("plms_lane_slots_in_use", "{{lane}} in use"), prom("plms_lane_cap", "{{lane}} cap")], least=0,
        ),
        Panel(
            "Queue", "Cards whose turn it may be; more than 20 for half an hour is told.",
            [prom("plms_queue_depth", "{{lane}}")], steps=((None, GREEN), (20, ORANGE)), least=0,
        ),
        Panel(
            "Longest wait", "Since the first card of the lane was ready.",
            [prom("plms_queue_oldest_age_seconds", "{{lane}}")], unit="s", least=0,
        ),
        Panel(
            "Busy for two hours", "Mean utilization; above 95 % is told.",
            [prom("avg_over_time(plms_lane_utilization_ratio[2h])", "{{lane}}", now=True)],
            draw="bars", unit="percentunit", steps=((None, GREEN), (0.9, ORANGE), (0.95, RED)), least=0, most=1,
        ),
        Panel(
            "Failure share of attempts", "Of the last hour; caps of lanes above 10 % are lowered, not raised.",
            [prom("""sum by (lane) (increase(plms_tasks_ended_total{status="FAIL"}[1h]))
 / (sum by (lane) (increase(plms_tasks_ended_total[1h])) > 0)""", "{{lane}}")],
            unit="percentunit", steps=((None, GREEN), (0.05, ORANGE), (0.10, RED)), least=0,
        ),
        Panel(
            "P95 of task durations", "Of the last hour.",
            [prom("histogram_quantile(0.95, sum by (lane, le) (rate(plms_task_duration_seconds_bucket[1h])))", "{{lane}}")],
            unit="s", least=0,
        ),
        Panel(
            "Slots that are suspect or put aside", "Whose holder is late, and cards paused for another project.",
            [prom("plms_lane_slots_suspect", "{{lane}} suspect"), prom("plms_queue_put_aside", "{{lane}} put aside")], least=0,
        ),
        Panel(
            "Review of the last 7 days", "The guide's monitoring query over the view portfolio_metrics.",
            [sql("""
                SELECT m.lane_id, l.name, l.cap, round(avg(m.utilization)::numeric, 4) AS avg_util,
                       max(m.queue_length) AS max_queue, round(avg(m.task_duration_ms)) AS avg_duration_ms
                  FROM portfolio_metrics m JOIN lanes l ON l.lane_id = m.lane_id
                 WHERE m.date >= current_date - 7
                 GROUP BY m.lane_id, l.name, l.cap ORDER BY avg_util DESC
            """)],
            draw="table", span=24,
        ),
    ),
)  # fmt: skip
