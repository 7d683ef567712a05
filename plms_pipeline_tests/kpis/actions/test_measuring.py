"""Every KPI that a gate may name can be measured."""

from __future__ import annotations

from plms_pipeline.kpis.actions import measuring
from plms_pipeline.kpis.vocabulary import KPI_NAMES


def test_every_known_kpi_has_a_validator_and_every_validator_a_known_kpi() -> None:
    """Defect 2 of the original: the formulas said "code_tests", the registry "test_pass_rate", and the gate was skipped."""
    assert set(measuring._VALIDATORS) == KPI_NAMES
    assert measuring.OUTSIDE <= KPI_NAMES


def test_the_seven_names_of_the_sources_are_kept() -> None:
    """Formulas of others use them."""
    sources = "test_pass_rate linter_pass schema_diff row_count_delta graph_edge_count_delta bleu_score readability"
    assert set(sources.split()) < KPI_NAMES
