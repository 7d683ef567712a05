"""Operations: the key metrics of guide 003 (health, performance, security), promises, late evidence (guide 004), Dagster."""

from __future__ import annotations

from typing import Final

from deploy.grafana.parts import GREEN, ORANGE, RED, YELLOW, Board, Panel, prom

UP: Final = {"0": ("down", RED), "1": ("up", GREEN)}
ZERO: Final = ((None, GREEN), (1, ORANGE))

_HEALTH: Final = (
    Panel(
        "Reachable", "API, UI, exporter, and what the exporter reads.",
        [prom('max by (job) (up{job=~"plms-.*"})', "{{job}}", now=True), prom("plms_registry_up", "registry", now=True),
         prom("plms_dagster_up", "Dagster", now=True), prom("plms_reports_up", "reports", now=True)],
        draw="stat", span=24, height=4, words=UP,
    ),
    Panel(
        "Concurrency", "Starts that hold a place, of those that may (launcher 3); runs at the executor.",
        [prom("plms_concurrency_in_use", "{{policy}} in use", now=True),
         prom("plms_concurrency_limit", "{{policy}} limit", now=True)],
        draw="bars", span=8, least=0,
    ),
    Panel(
        "Daily budget", "Spent, reserved and limit of the day's accounts.",
        [prom("plms_daily_budget_spent_usd", "{{account}} spent", now=True),
         prom("plms_daily_budget_reserved_usd", "{{account}} reserved", now=True),
         prom("plms_daily_budget_limit_usd", "{{account}} limit", now=True)],
        draw="bars", unit="currencyUSD", span=8, least=0,
    ),
    Panel(
        "Rate", "Tokens left in the buckets, of their rate per second; below 1 the next start waits.",
        [prom("plms_rate_tokens", "{{bucket}} tokens"), prom("plms_rate_limit_per_second", "{{bucket}} per second")],
        span=8, least=0,
    ),
    Panel(
        "Dead letters", "That wait to be tried again; more than 10 is told.",
        [prom("plms:dead_letters_open", "waiting", now=True),
         prom('sum(plms_dead_letters{state=~"permanent|quarantined"})', "for a person", now=True),
         prom("plms_dead_letters_due", "due now", now=True)],
        draw="stat", span=8, steps=((None, GREEN), (5, YELLOW), (11, RED)),
    ),
    Panel(
        "Disk", "Free, by place; below 1 GiB is told.",
        [prom("plms_disk_free_bytes", "{{place}}", now=True)],
        draw="bars", unit="bytes", span=8, steps=((None, RED), (1_073_741_824, ORANGE), (5_368_709_120, GREEN)),
    ),
    Panel(
        "Kill switches", "That are on, by scope.",
        [prom("plms_killswitch_on", "{{scope}}", now=True)], draw="stat", span=8, steps=((None, GREEN), (1, RED)),
    ),
)  # fmt: skip

_PERFORMANCE: Final = (
    Panel(
        "Duration of runs", "Median and P95 from start to end, of the last day.",
        [prom("histogram_quantile(0.5, sum by (le) (rate(plms_run_duration_seconds_bucket[1d])))", "P50"),
         prom("histogram_quantile(0.95, sum by (le) (rate(plms_run_duration_seconds_bucket[1d])))", "P95")],
        unit="s", span=8, least=0,
    ),
    Panel(
        "Success rate of runs", "SUCCESS of all that ended in the last day.",
        [prom("""sum(increase(plms_runs_ended_total{status="SUCCESS"}[1d]))
 / (sum(increase(plms_runs_ended_total[1d])) > 0)""", "success", now=True)],
        draw="stat", unit="percentunit", span=4, steps=((None, RED), (0.5, ORANGE), (0.9, GREEN)),
    ),
    Panel(
        "Retried attempts", "Of all attempts that ended in the last day.",
        [prom("""sum(increase(plms_tasks_retried_total[1d]))
 / (sum(increase(plms_tasks_ended_total[1d])) > 0)""", "retried", now=True)],
        draw="stat", unit="percentunit", span=4, steps=((None, GREEN), (0.1, ORANGE)),
    ),
    Panel(
        "Dead letters tried again", "What became of them.",
        [prom("plms_dead_letters_retried", "{{outcome}}", now=True)], draw="stat", span=8,
    ),
    Panel(
        "Runs and projects", "Our own, by state.",
        [prom("plms_runs", "run {{status}}", now=True), prom("plms_projects", "project {{status}}", now=True)], draw="bars",
    ),
    Panel(
        "Waiting", "For settlement, for the outside, for a person: age of the first.",
        [prom("plms_inbox_oldest_age_seconds", "inbox"), prom("plms_outbox_oldest_age_seconds", "outbox"),
         prom("max(plms_pending_decisions_oldest_age_seconds)", "decision")],
        unit="s", least=0,
    ),
    Panel(
        "Waits for a person", "Decisions, by kind.",
        [prom("plms_pending_decisions", "{{kind}}", now=True)], draw="bars", span=8,
    ),
    Panel(
        "Inbox and outbox", "Events that are not settled, effects that are still to be done.",
        [prom("sum(plms_inbox_pending)", "inbox"), prom("plms_outbox_pending", "outbox"),
         prom("plms_outbox_failed", "outbox: given up")], span=8, least=0,
    ),
    Panel(
        "Spent by lane", "Dollars an hour.",
        [prom("sum by (lane) (increase(plms_task_cost_usd_total[1h]))", "{{lane}}")],
        draw="stacked", unit="currencyUSD", span=8,
    ),
)  # fmt: skip

_PROMISES: Final = (
    Panel(
        "What is left of the week's budget of errors", "1 untouched, 0 spent, below: the promise is broken.",
        [prom("plms:slo_budget_left:7d", "{{slo}}", now=True)],
        draw="bars", unit="percentunit", steps=((None, RED), (0, ORANGE), (0.25, GREEN)), least=-1, most=1, height=12,
    ),
    Panel(
        "Burn of the last hour", "Bad answers as a multiple of what was promised; paged above 13.44.",
        [prom("plms:slo_bad_ratio:1h / (1 - plms:slo_objective)", "{{slo}}")], height=12, least=0,
    ),
    Panel(
        "P95 of the API", "By endpoint, over the last five minutes.",
        [prom("""histogram_quantile(0.95, sum by (endpoint, method, le) (rate(plms_api_latency_seconds_bucket[5m])))""",
              "{{method}} {{endpoint}}"),
         prom("plms:api_latency_target_seconds:p95", "target {{endpoint}}")],
        unit="s", least=0,
    ),
    Panel(
        "Answers of the API", "A second, by class of status.",
        [prom("sum by (status) (rate(plms_api_answers_total[5m]))", "{{status}}")], draw="stacked", unit="reqps",
    ),
)  # fmt: skip

_SECURITY: Final = (
    Panel(
        "Secrets found", "By the engine's scan; any is a P0.",
        [prom('max(plms_alerts_open{rule="secret_found"}) or vector(0)', "secrets", now=True)],
        draw="stat", span=6, steps=((None, GREEN), (1, RED)),
    ),
    Panel(
        "Who was not let in", "Refused requests of the last hour, API and UI.",
        [prom("sum by (code) (increase(plms_http_refusals_total[1h]))", "API {{code}}", now=True),
         prom("sum by (code) (increase(plms_ui_refusals_total[1h]))", "UI {{code}}", now=True)],
        draw="bars", span=9, steps=ZERO,
    ),
    Panel(
        "What guards refused", "Starts of the last hour, by guard.",
        [prom("sum by (guard) (increase(plms_guard_refusals_total[1h]))", "{{guard}}", now=True)],
        draw="bars", span=9, steps=ZERO,
    ),
    Panel(
        "Alerts of PLMS", "By severity and state.",
        [prom("sum by (severity, state) (plms_alerts)", "{{severity}} {{state}}", now=True)], draw="bars", span=8,
    ),
    Panel(
        "Messages", "That go out, by channel and state.",
        [prom("sum by (channel, state) (plms_alert_deliveries)", "{{channel}} {{state}}", now=True)], draw="bars", span=8,
    ),
    Panel(
        "The watchers", "Whether the dead man's switch fires (it must), and how long ago the engine looked.",
        [prom('count(ALERTS{alertname="Watchdog", alertstate="firing"})', "watchdog", now=True),
         prom("max(plms_alert_checks_oldest_age_seconds)", "oldest look, s", now=True)],
        draw="stat", span=8,
    ),
)  # fmt: skip

_EVIDENCE: Final = (
    Panel(
        "Evidence by reason", "Observations an hour, from the books.",
        [prom("sum by (reason) (increase(plms_evidence_observations_total[1h]))", "{{reason}}")], draw="stacked", span=8,
    ),
    Panel(
        "Heat found", "Share of observations with evidence, by point of observation (p28_observed_total).",
        [prom("""sum by (obs_point) (increase(p28_observed_total{heat_found="1"}[1h]))
 / (sum by (obs_point) (increase(p28_observed_total[1h])) > 0)""", "{{obs_point}}", now=True)],
        draw="bars", unit="percentunit", span=8, least=0, most=1,
    ),
    Panel(
        "In flight", "Evidence that is waited for, overdue, and what this process holds (at most 200).",
        [prom("plms_evidence_pending", "pending"), prom("plms_evidence_overdue", "overdue"),
         prom("p28_late_obs_inflight", "in flight")], span=8, least=0,
    ),
)  # fmt: skip

_DAGSTER: Final = (
    Panel(
        "Daemons of Dagster", "Seconds since their last heartbeat.",
        [prom("plms_dagster_daemon_heartbeat_age_seconds", "{{daemon}}", now=True)],
        draw="bars", unit="s", span=8, steps=((None, GREEN), (60, ORANGE), (300, RED)), least=0,
    ),
    Panel(
        "Sensors", "How late they are, and ticks that failed in a row.",
        [prom("plms_dagster_sensor_lag_seconds", "{{sensor}} late, s", now=True),
         prom("plms_dagster_sensor_failed_ticks", "{{sensor}} failed", now=True)],
        draw="bars", span=8, steps=((None, GREEN), (60, ORANGE), (300, RED)), least=0,
    ),
    Panel(
        "Runs of Dagster", "By state, and how long the first in the queue has waited.",
        [prom("plms_dagster_runs", "{{status}}", now=True),
         prom("plms_dagster_queue_oldest_age_seconds", "queue, s", now=True)],
        draw="bars", span=8,
    ),
    Panel(
        "The exporter", "How long reading took, by part; the time of a scrape.",
        [prom("plms_exporter_collect_seconds", "{{part}}"), prom('scrape_duration_seconds{job="plms-exporter"}', "scrape")],
        unit="s", least=0,
    ),
    Panel(
        "Size", "Of the registry, and of the pages that are scraped.",
        [prom("plms_registry_size_bytes", "registry", now=True),
         prom('scrape_samples_scraped{job=~"plms-.*"}', "{{job}}", now=True)],
        draw="stat", unit="short",
    ),
)  # fmt: skip

OPERATIONS: Final = Board(
    uid="plms-operations",
    title="PLMS operations",
    about="Health, performance, security, promises, evidence and Dagster, for whoever is on call.",
    panels=(*_HEALTH, *_PERFORMANCE, *_PROMISES, *_SECURITY, *_EVIDENCE, *_DAGSTER),
)
