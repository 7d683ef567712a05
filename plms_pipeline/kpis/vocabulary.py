"""Which KPIs exist, and what kind of value does each have?

One table, asked by gates, validators, formulas and the nightly check. The original named a validator "code_tests" in its
formulas and "test_pass_rate" in its registry; the gate was skipped without a word. Here an unknown name is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["fraction", "flag", "count", "ratio", "grade"]

VALIDATORS_VERSION: Final = "1"
"""Raise it when a validator measures differently: artifacts that were judged before are then measured again."""


@dataclass(frozen=True, slots=True)
class Kpi:
    """One KPI: its name, the kind of its value, and what it measures.

    Kinds: `fraction` in [0, 1], `flag` true or false, `count` a whole number ≥ 0, `ratio` a number ≥ 0, `grade` a school
    grade (any number).
    """

    name: str
    kind: Kind
    description: str


ECHO: Final = "echo_cosine"

_ALL: Final = (
    Kpi("test_pass_rate", "fraction", "passed tests / all tests of tests/, run by a real pytest"),
    Kpi("linter_pass", "flag", "whether ruff finds nothing in the artifact's own source tree"),
    Kpi("schema_diff", "count", "columns that are missing, unexpected or of another type than expected"),
    Kpi("row_count_delta", "ratio", "|rows − expected| / max(1, expected) of a table"),
    Kpi("graph_edge_count_delta", "ratio", "|edges − expected| / max(1, expected) of a Cypher count"),
    Kpi("bleu_score", "fraction", "BLEU of a generated text against its reference"),
    Kpi("readability", "grade", "Flesch-Kincaid grade of the generated documentation; lower is easier"),
    Kpi(ECHO, "fraction", "cosine of a text and its echo; 1 says the meaning came back whole"),
)
KPIS: Final = {kpi.name: kpi for kpi in _ALL}
KPI_NAMES: Final = frozenset(KPIS)
"""Every KPI that a lane gate or a task's `kpi_formula` may name."""
