"""What did somebody ask to be trained: which measures, how time is split, what must be shown?"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from plms_pipeline.errors import BadInput
from plms_pipeline.measures import MEASURES, Measure
from plms_pipeline.models.estimating.judging import Limits
from plms_pipeline.models.estimating.walkforward import Plan

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class EstimatesExperiment:
    """A whole training of the family `estimates`; the empty one is the default.

    Raises:
        BadInput: a measure is unknown or named twice, or time cannot be split so.
    """

    measures: tuple[Measure, ...] = ("cost_usd", "duration_ms")
    plan: Plan = field(default_factory=Plan)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.measures or len(set(self.measures)) < len(self.measures) or not set(self.measures) <= set(MEASURES):
            raise BadInput(
                f"measures are {', '.join(self.measures) or 'none'}; give one or more of {', '.join(MEASURES)}, each once.",
                code="bad_experiment",
            )
        if not 0.1 <= self.plan.taught_first <= 0.9 or not 1 <= self.plan.blocks <= 50:
            raise BadInput(
                f"taught_first is {self.plan.taught_first:g} and blocks is {self.plan.blocks}; 0.1 to 0.9, and 1 to 50.",
                code="bad_experiment",
            )

    def canonical(self) -> str:
        """The document with every default written out, as canonical JSON."""
        document = {"schema_version": SCHEMA_VERSION, "family": "estimates", **asdict(self)}
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """SHA-256 (hex) of the canonical form."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def experiment_of(document: Any) -> EstimatesExperiment:
    """The experiment behind its canonical form.

    Raises:
        BadInput: it is none (`bad_experiment`).
    """
    try:
        if document["schema_version"] != SCHEMA_VERSION or document["family"] != "estimates":
            raise BadInput("The experiment is of another version or family.", code="bad_experiment")
        limits: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one for name, one in document["limits"].items()
        }
        return EstimatesExperiment(tuple(document["measures"]), Plan(**document["plan"]), Limits(**limits))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"This is no experiment of estimates ({type(error).__name__}).", code="bad_experiment") from None
