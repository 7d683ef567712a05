"""What do the jobs of runs leave on disk? Nothing: what a person sees is metadata, and the registry is the record."""

from __future__ import annotations

import dagster as dg
import pytest

from plms_pipeline.runs.defs import JOBS

OP_JOBS = [job for job in JOBS if isinstance(job, dg.JobDefinition)]


@pytest.mark.parametrize("job", OP_JOBS, ids=lambda job: str(job.name))
def test_no_op_hands_a_value_to_an_io_manager(job: dg.JobDefinition) -> None:
    """Dagster's default IO manager pickles what an op returns: each start left a file that nobody reads and nobody sweeps."""
    for node in job.nodes:
        for output in node.definition.output_defs:
            assert output.dagster_type.is_nothing, f"{job.name}.{node.name} returns a value"
