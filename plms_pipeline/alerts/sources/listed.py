"""Which sources can this process look at, and how often?"""

from __future__ import annotations

from plms_pipeline.alerts.looking import Source
from plms_pipeline.alerts.sources import budget
from plms_pipeline.settings import Settings


def sources_of_the_books(settings: Settings) -> tuple[Source, ...]:
    """What every process can look at that has the registry and the disk."""
    return (Source("budget", budget.look, settings.budget_check_s),)
