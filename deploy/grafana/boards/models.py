"""Models (guide 002): what serves and how well it answers, what its guardrails judge, and whether live is as approved."""

from __future__ import annotations

from typing import Final

from deploy.grafana.parts import GREEN, ORANGE, RED, YELLOW, Board, Panel, prom, sql

_LATENCY: Final = "plus_ultra_service_request_latency_seconds"

MODELS: Final = Board(
    uid="plms-models",
    title="PLMS models",
    about="The promoted model at work: answers, guardrails, and what the live monitor says of it.",
    panels=(
        Panel(
            "Model", "1: a verified model answers.", [prom("plus_ultra_service_model_loaded", "model", now=True)],
            draw="stat", span=4, height=5, words={"0": ("none", RED), "1": ("answers", GREEN)},
        ),
        Panel(
            "Verified", "Whether the promoted model is the one that was approved, to the byte.",
            [prom("plus_ultra_service_model_unverified", "unverified", now=True)],
            draw="stat", span=4, height=5, words={"0": ("yes", GREEN), "1": ("no", RED)},
        ),
        Panel(
            "Guardrails", "Off: books pass unjudged.",
            [prom('plus_ultra_guardrails_enabled{policy="service"}', "guardrails", now=True)],
            draw="stat", span=4, height=5, words={"0": ("off", RED), "1": ("on", GREEN)},
        ),
        Panel(
            "Promotion", "The number of the promotion that serves, and of the newest one in the registry.",
            [prom("plus_ultra_service_model_sequence", "serves", now=True),
             prom("plus_ultra_service_promoted_sequence", "promoted", now=True)],
            draw="stat", span=6, height=5,
        ),
        Panel(
            "Candidates", "Trained models that wait for a person.",
            [prom('plms_model_candidates{state="waiting"}', "{{family}}", now=True)],
            draw="stat", span=6, height=5, steps=((None, GREEN), (1, YELLOW), (5, ORANGE)),
        ),
        Panel(
            "Promotions and rollbacks", "What was live when, and who put it there.",
            [sql("""
                SELECT c.promoted_at AS time, c.family, c.sequence, c.kind, c.candidate_id, left(c.model_sha256, 12) AS model,
                       c.promoted_by
                  FROM champions c ORDER BY c.promoted_at DESC LIMIT 20
            """)],
            draw="table", span=24, height=7,
        ),
        Panel(
            "Answers per second", "By endpoint and status.",
            [prom("sum by (endpoint, status) (rate(plus_ultra_service_requests_total[5m])) > 0", "{{endpoint}} {{status}}")],
            draw="stacked", unit="reqps",
        ),
        Panel(
            "P95", "Promised: 750 ms of /predict, 250 ms of /guardrails.",
            [prom(f"""histogram_quantile(0.95, sum by (endpoint, le)
 (rate({_LATENCY}_bucket{{endpoint=~"predict|guardrails"}}[5m])))""", "{{endpoint}}")],
            unit="s", least=0, steps=((None, GREEN), (0.25, YELLOW), (0.75, RED)),
        ),
        Panel(
            "Budget of the promise left", "99.5 % of predictions without a 5xx over seven days; below 0 the promise is broken.",
            [prom('plms:slo_budget_left:7d{slo="predict_availability"}', "left", now=True)],
            draw="stat", unit="percentunit", span=6, steps=((None, RED), (0, ORANGE), (0.5, GREEN)),
        ),
        Panel(
            "Exceptions in the last hour", "By class; 422 among them: mistakes of the sender.",
            [prom("sum by (exception) (increase(plus_ultra_service_request_exceptions_total[1h])) > 0", "{{exception}}",
                  now=True)],
            draw="bars", span=9, steps=((None, ORANGE),), nothing="none",
        ),
        Panel(
            "Rows per prediction, P95", "How much is asked at once.",
            [prom("histogram_quantile(0.95, sum by (le) (rate(plus_ultra_service_prediction_rows_bucket[5m])))", "rows")],
            span=9, least=0,
        ),
        Panel(
            "Trades judged per minute", "And those that passed while guardrails were off.",
            [prom("60 * sum(rate(plus_ultra_guardrail_trades_evaluated_total[5m]))", "judged"),
             prom("60 * sum(rate(plus_ultra_guardrail_trades_unguarded_total[5m]))", "unguarded")],
            draw="stacked",
        ),
        Panel(
            "Violations and cuts in half an hour", "Limits that enforcement could not mend, by kind; and books that were cut.",
            [prom("sum by (name) (increase(plus_ultra_guardrail_violations_total[30m]))", "{{name}}"),
             prom("sum(increase(plus_ultra_guardrail_books_scaled_total[30m]))", "books cut")],
            least=0,
        ),
        Panel(
            "Approved and live", "Figures of the champion out of sample and of the live window, and limits; with their signs.",
            [prom('plus_ultra_service_champion_metric{name=~"sharpe|max_drawdown|hit_rate"}', "approved {{name}}", now=True),
             prom('plus_ultra_monitoring_risk_metric{name=~"sharpe|max_drawdown|hit_rate"}', "live {{name}}", now=True),
             prom('plms_model_risk_limit{name=~"sharpe|max_drawdown"}', "limit {{name}}", now=True)],
            draw="bars", steps=((None, GREEN),), nothing="not known",
        ),
        Panel(
            "Drift", "How far live returns are from those that were approved: a share of the limit in force.",
            [prom("plus_ultra_monitoring_drift_metric / plms_model_drift_limit", "{{name}}")],
            least=0, steps=((None, GREEN), (1, RED)),
        ),
        Panel(
            "Alerts of the live monitor in a day", "By code.",
            [prom("sum by (alert) (increase(plus_ultra_monitoring_alerts_total[1d]))", "{{alert}}", now=True)],
            draw="bars", steps=((None, GREEN), (1, ORANGE)),
        ),
        Panel(
            "What was served, by day", "From the books: answers, 5xx, slow ones, trades judged, limits broken.",
            [sql("""
                SELECT date_trunc('day', m.minute) AS day, sum(m.requests) AS predictions, sum(m.errors) AS errors,
                       sum(m.slow_750) AS slow_750, sum(m.guardrail_requests) AS books, sum(m.slow_250) AS slow_250,
                       sum(m.trades_evaluated) AS trades, sum(m.violations) AS violations
                  FROM serving_minutes m WHERE $__timeFilter(m.minute) GROUP BY 1 ORDER BY 1 DESC
            """)],
            draw="table",
        ),
    ),
)  # fmt: skip
