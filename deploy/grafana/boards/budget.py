"""Budget runway, in real time (guide 000, panel 1): budget, spent, burn rate, minutes to depletion, projected overrun."""

from __future__ import annotations

from typing import Final

from deploy.grafana.parts import GREEN, ORANGE, RED, YELLOW, Board, Panel, prom, sql

RUNWAY: Final = ((None, RED), (5, ORANGE), (15, YELLOW), (30, GREEN))

BUDGET: Final = Board(
    uid="plms-budget",
    title="PLMS budget runway",
    about="How long the money of the projects that run lasts. Prometheus knows ranks, the registry names.",
    refresh="10s",
    since="now-1h",
    panels=(
        Panel(
            "Minutes to depletion", "The ten shortest runways. A project that burns nothing has none.",
            [prom("plms_budget_runway_minutes", "rank {{rank}}", now=True)],
            draw="gauge", unit="m", steps=RUNWAY, least=0, most=60, nothing="nothing burns",
        ),
        Panel(
            "Budget and spent", "Sums over the projects that run.",
            [prom("plms_budget_usd", "budget", now=True), prom("plms_budget_spent_usd", "spent", now=True),
             prom("plms_budget_reserved_usd", "reserved", now=True)],
            draw="stat", unit="currencyUSD", span=6,
        ),
        Panel(
            "Projected overrun", "By how much those that will exceed their budget do so, and the largest share.",
            [prom("plms_budget_projected_overrun_usd", "sum", now=True)],
            draw="stat", unit="currencyUSD", span=3, steps=((None, GREEN), (0.01, ORANGE)),
        ),
        Panel(
            "Largest overrun", "Of the budget; over 20 % is told, over 25 % the breach policy acts.",
            [prom("plms_budget_overrun_ratio_max", "share", now=True)],
            draw="stat", unit="percentunit", span=3, steps=((None, GREEN), (0.2, ORANGE), (0.25, RED)),
        ),
        Panel(
            "Burn rate", "Dollars a minute, of all projects that run and of the ten shortest runways.",
            [prom("plms_budget_burn_usd_per_minute", "all"),
             prom("plms_budget_runway_burn_usd_per_minute", "rank {{rank}}")],
            unit="currencyUSD",
        ),
        Panel(
            "Runway over time", "Minutes; lines at 15 (told) and 5 (paged).",
            [prom("plms_budget_runway_minutes", "rank {{rank}}")], unit="m", steps=RUNWAY, least=0,
        ),
        Panel(
            "Ten shortest runways", "The same ranks side by side.",
            [prom("sum by (rank) (plms_budget_runway_minutes)", now=True),
             prom("sum by (rank) (plms_budget_runway_budget_usd)", now=True),
             prom("sum by (rank) (plms_budget_runway_spent_usd)", now=True),
             prom("sum by (rank) (plms_budget_runway_burn_usd_per_minute)", now=True),
             prom("sum by (rank) (plms_budget_runway_projected_overrun_usd)", now=True)],
            draw="table",
        ),
        Panel(
            "Budgets of projects", "By name, from the registry: budget, settled, reserved, and the share that is gone.",
            [sql("""
                SELECT p.id, p.name, p.status, a.limit_usd AS budget_usd, a.settled_usd, a.reserved_usd,
                       round(100 * (a.settled_usd + a.reserved_usd) / nullif(a.limit_usd, 0), 1) AS used_pct
                  FROM projects p JOIN ledger_accounts a ON a.account = 'project:' || p.id
                 WHERE p.source = 'plms'
                 ORDER BY used_pct DESC NULLS LAST LIMIT 50
            """)],
            draw="table",
        ),
        Panel(
            "How budgets stand", "Active projects by the word of their budget.",
            [prom("plms_budget_status", "{{status}}", now=True)], draw="bars",
        ),
        Panel(
            "Spent today", "Everything together, and the account of what starts outside an approved project. P0 above 100.",
            [prom("plms_daily_spend_usd", "everything"),
             prom('plms_daily_budget_spent_usd{account="launcher"}', "launcher: spent"),
             prom('plms_daily_budget_limit_usd{account="launcher"}', "launcher: limit")],
            unit="currencyUSD", steps=((None, GREEN), (100, RED)), least=0,
        ),
    ),
)  # fmt: skip
