"""The view behind the guide's daily review: how busy each lane was, day by day, from the receipts themselves."""

from __future__ import annotations

_DAY_OF = {
    "sqlite": "date({})",
    "postgresql": "CAST({} AT TIME ZONE 'UTC' AS date)",
}

# Busy time over the time the lane's slots offered that day; the queue is what still waited when the day ended.
_PORTFOLIO_METRICS = """
CREATE VIEW portfolio_metrics AS
SELECT r.lane_id AS lane_id,
       r.completed_on AS date,
       SUM(r.duration_ms) / (86400000.0 * MAX(l.cap)) AS utilization,
       (SELECT COUNT(*) FROM run_tasks t
         WHERE t.lane_id = r.lane_id
           AND {queued} <= r.completed_on
           AND (t.started_at IS NULL OR {started} > r.completed_on)) AS queue_length,
       AVG(r.duration_ms) AS task_duration_ms
  FROM task_receipts r
  JOIN lanes l ON l.lane_id = r.lane_id AND l.cap > 0
 GROUP BY r.lane_id, r.completed_on
"""

CREATE_PORTFOLIO_METRICS = {
    dialect: _PORTFOLIO_METRICS.format(queued=day.format("t.queued_at"), started=day.format("t.started_at"))
    for dialect, day in _DAY_OF.items()
}
