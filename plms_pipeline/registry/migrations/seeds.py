"""The first rows of the registry: eight lanes, the words other vocabularies have for them, and the guide's gates."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from plms_pipeline.registry.migrations.attic import Attic
from plms_pipeline.registry.types import Json

LANES: list[dict[str, Any]] = [
    {"lane_id": 4200, "name": "Code-API", "cap": 4, "description": "Write application code behind an interface."},
    {"lane_id": 4201, "name": "Code-Test", "cap": 4, "description": "Write and repair tests; bound by processor time."},
    {"lane_id": 4202, "name": "Code-Docs", "cap": 3, "description": "Write documentation."},
    {"lane_id": 5100, "name": "Data-Schema", "cap": 2, "description": "Change schemas; heavy on the database."},
    {
        "lane_id": 5101,
        "name": "Data-Ingest",
        "cap": 3,
        "description": "Fetch and load data; bound by input and output.",
    },
    {"lane_id": 5102, "name": "Data-Transform", "cap": 2, "description": "Reshape data; hungry for memory."},
    {"lane_id": 6100, "name": "Model-Train", "cap": 2, "description": "Train models; bound by accelerators."},
    {"lane_id": 6101, "name": "Model-Eval", "cap": 3, "description": "Evaluate models; lighter than training."},
]

# Other vocabularies that are met in plans and job cards. A lane of theirs that means none of ours has no alias: it is refused.
ALIASES: dict[str, dict[str, int]] = {
    "prd": {
        "Code-API-Design": 4200, "Code-API-Implementation": 4200, "Code-API-Impl": 4200, "Code-Testing": 4201,
        "Code-Documentation": 4202, "Data-Ingestion": 5101,
    },
    "pas": {"Code-Impl": 4200, "Documentation": 4202, "Data-Pipeline": 5102, "Data-Loader": 5101},
    "tiers": {"Code": 4200, "Docs": 4202, "Data": 5102, "Models": 6100},
}  # fmt: skip

# (lane, KPI, operator, threshold); 6100 and 6101 have none: their runs are `ungated` until a person accepts that.
GATES: list[tuple[int, str, str, Any]] = [
    (4200, "test_pass_rate", ">=", 0.90),
    (4200, "linter_pass", "==", True),
    (4201, "test_pass_rate", ">=", 0.95),
    (4201, "linter_pass", "==", True),
    (4202, "readability", "<=", 10.0),
    (5100, "schema_diff", "==", 0),
    (5100, "row_count_delta", "<=", 0.05),
    (5101, "row_count_delta", "<=", 0.10),
    (5102, "row_count_delta", "<=", 0.05),
]


def seed_lanes(attic: Attic) -> None:
    """Insert lanes, aliases and gates into a new registry; a revived one keeps what people decided since."""
    attic.seed(
        "lanes",
        LANES,
        sa.column("lane_id", sa.Integer),
        sa.column("name", sa.String),
        sa.column("cap", sa.Integer),
        sa.column("description", sa.Text),
    )
    attic.seed(
        "lane_aliases",
        [
            {"alias": alias, "vocabulary": vocabulary, "lane_id": lane}
            for vocabulary, words in ALIASES.items()
            for alias, lane in words.items()
        ],
        sa.column("alias", sa.String),
        sa.column("vocabulary", sa.String),
        sa.column("lane_id", sa.Integer),
    )
    attic.seed(
        "lane_gates",
        [{"lane_id": lane, "kpi_name": kpi, "operator": op, "threshold": value} for lane, kpi, op, value in GATES],
        sa.column("lane_id", sa.Integer),
        sa.column("kpi_name", sa.String),
        sa.column("operator", sa.String),
        sa.column("threshold", Json),
    )
