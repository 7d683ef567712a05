"""A job `nightly` whose one step fails as the test asks: definitions for `run_night`, imported by name as the real ones are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from plms_pipeline.errors import BadInput, NoData, Unavailable, VerdictNo
from plms_pipeline.resources import no_retry_for_permanent_errors

FAILURES: dict[str, Exception] = {
    "away": Unavailable("The registry db does not answer; check that the server runs.", code="registry_unavailable"),
    "bad": BadInput("The folder is a file; name a folder.", code="bad_reports_dir"),
    "none": NoData("There is no document; materialize it first.", code="no_document"),
    "busy": VerdictNo("A night is already running: process 7 on here, since 2026-03-01.", code="night_is_running"),
    "bug": ZeroDivisionError("division by zero"),
}
WANTED: dict[str, str] = {}


class Gate(dg.ConfigurableResource[Any]):
    """Fails before the first step when asked to, as the lease of the night does."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Gate"]:
        with no_retry_for_permanent_errors():
            if "resource" in WANTED:
                raise FAILURES[WANTED["resource"]]
            yield self


@dg.asset
def step(gate: Gate) -> None:
    with no_retry_for_permanent_errors():
        if "step" in WANTED:
            try:
                raise ConnectionError("the driver's own words")
            except ConnectionError as error:
                raise FAILURES[WANTED["step"]] from error


defs = dg.Definitions(
    assets=[step],
    jobs=[dg.define_asset_job("nightly", [step])],
    resources={"gate": Gate()},
    executor=dg.in_process_executor,
)
