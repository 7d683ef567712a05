"""What lies in the folder of a task that nobody really did?

The shipped sample artifact of its lane, which the gates then really measure: green by default, and under the fault
`kpi_red` one that fails for a reason that is really there while its echo stays green. Two of the shipped folders fail by
themselves (4201, 5101); for a green one the lane borrows a neighbour's, for a red one the others get a defect.
Lanes without gates get their name and a model card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MANIFEST: Final = "plms_artifact.json"
_GREEN: Final = {
    4200: "4200-token-bucket",
    4201: "4200-token-bucket",
    4202: "4202-operator-guide",
    5100: "5100-agent-models",
    5101: "5102-repository-costs",
    5102: "5102-repository-costs",
}
_RED: Final = {**_GREEN, 4201: "4201-delimited-text", 5101: "5101-task-families"}
_FAILING_TESTS: Final = (
    "import pytest\n\n\n@pytest.mark.parametrize('case', range(30))\ndef test_holds(case):\n    assert case < 0\n"
)
_HARD_TO_READ: Final = (
    "Notwithstanding considerations regarding organisational responsibilities, administrators responsible for "
    "operational infrastructure simultaneously coordinate multidimensional authorisation methodologies, "
    "incorporating institutional documentation requirements, interdepartmental communication specifications and "
    "comprehensive accountability instrumentation throughout geographically distributed environments.\n"
)
_WRONG_ROWS: Final = {"table_fq": "agent_models", "row_count": 1_000_000}
_DEFECTS: Final[Mapping[int, Mapping[str, str]]] = {
    4200: {"tests/test_regression.py": _FAILING_TESTS},
    4202: {"generated_docs.md": _HARD_TO_READ * 5},
    5100: {"expected_row_count.json": json.dumps(_WRONG_ROWS)},
    5102: {"expected_row_count.json": json.dumps(_WRONG_ROWS)},
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make an artifact folder: copy `source` (None: start empty), then write `texts` by relative path."""

    source: str | None
    texts: Mapping[str, str] = field(default_factory=dict)


def recipe(lane: int, *, is_red: bool) -> Recipe:
    """The artifact of a lane; a lane without gates has nothing that could be red."""
    manifest = {MANIFEST: json.dumps({"lane": lane}, indent=2) + "\n"}
    if lane not in _GREEN:
        return Recipe(None, {**manifest, "MODEL_CARD.md": f"# Model card\n\nWork of lane {lane}.\n"})
    if is_red:
        return Recipe(_RED[lane], {**_DEFECTS.get(lane, {}), **manifest})
    return Recipe(_GREEN[lane], manifest)
