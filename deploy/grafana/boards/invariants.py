"""The eight panels of the invariants (reference, section 10), with its thresholds."""

from __future__ import annotations

from typing import Final

from deploy.grafana.parts import GREEN, ORANGE, RED, YELLOW, Board, Panel, prom

STATUS: Final = {"0": ("broken", RED), "1": ("all hold", GREEN)}

INVARIANTS: Final = Board(
    uid="plms-invariants",
    title="PLMS invariants",
    about="Do the books balance? Proven every night, and by `plms invariants` at any time.",
    since="now-30d",
    refresh="1m",
    panels=(
        Panel(
            "Status", "Of the newest proof.",
            [prom("plms_invariants_status", "invariants", now=True)], draw="stat", span=6, height=6, words=STATUS,
        ),
        Panel(
            "Violations", "Rows that break an invariant.",
            [prom("plms_invariants_violations_total", "rows", now=True)],
            draw="stat", span=6, height=6, steps=((None, GREEN), (1, ORANGE), (10, RED)),
        ),
        Panel(
            "Success rate, 30 days", "Proofs that were clean.",
            [prom("""sum(plms_invariants_status_history{status="ok"})
 / (sum(plms_invariants_status_history) > 0)""", "clean", now=True)],
            draw="stat", unit="percentunit", span=6, height=6, steps=((None, RED), (0.90, YELLOW), (0.95, GREEN)),
        ),
        Panel(
            "Age of the last proof", "More than 25 hours is told.",
            [prom("time() - plms_invariants_last_check_timestamp", "age", now=True)],
            draw="stat", unit="s", span=6, height=6, steps=((None, GREEN), (86_400, ORANGE), (90_000, RED)),
        ),
        Panel(
            "Status over time", "1 all hold, 0 broken; checks that passed and failed.",
            [prom("plms_invariants_status", "status"), prom("plms_invariants_checks_passed", "passed"),
             prom("plms_invariants_checks_failed", "failed"), prom("plms_invariants_checks_total", "checks")], least=0,
        ),
        Panel(
            "Violations by check", "Rows, by the invariant that they break.",
            [prom("plms_invariants_violations_by_check", "{{check_name}}", now=True)],
            draw="bars", steps=((None, GREEN), (1, ORANGE), (10, RED)), height=12,
        ),
        Panel(
            "Mean time to fix", "From the first broken proof to the next clean one, over 30 days.",
            [prom("plms_invariants_time_to_fix_seconds", "to fix", now=True)],
            draw="stat", unit="s", span=6, height=6, steps=((None, GREEN), (86_400, ORANGE), (259_200, RED)),
            nothing="nothing was broken",
        ),
        Panel(
            "Critical checks", "Rows that break an invariant of severity ERROR: the books are wrong, not only weak.",
            [prom("plms_invariants_critical_violations", "rows", now=True)],
            draw="stat", span=6, height=6, steps=((None, GREEN), (1, RED)),
        ),
    ),
)  # fmt: skip
