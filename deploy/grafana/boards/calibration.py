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
            "Error by week and lane", "From the versions of the priors: mean error of tokens as a share of their mean.",
            [sql("""
                SELECT date_trunc('week', v.as_of) AS week, v.lane_id, max(v.n_observations) AS n,
                       round(avg(v.mean_absolute_error_tokens / nullif(v.tokens_mean, 0))::numeric, 4) AS mae_ratio
                  FROM estimate_versions v
                 WHERE v.basis = 'effort' AND v.lane_id IS NOT NULL AND v.mean_absolute_error_tokens IS NOT NULL
                 GROUP BY 1, 2 ORDER BY 1 DESC, 2 LIMIT 200
            """)],
            draw="table", span=24,
        ),
    ),
)  # fmt: skip
