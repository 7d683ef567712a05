"""Where does a fresh checkout get a database to measure from?

The sample artifacts of the data lanes describe tables. `plms kpi warehouse load` builds them from the shipped SQL script
into `$PLMS_DATA_DIR/kpi_warehouse.db`, which is what `PLMS_KPI_DATABASE_URL` defaults to once it exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plms_pipeline.errors import BadInput
from plms_pipeline.instance.files.atomic import made_aside
from plms_pipeline.kpis.files.warehouse import digest_of, read_script
from plms_pipeline.kpis.store import warehouse


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load_warehouse` did."""

    path: Path
    state: Literal["loaded", "unchanged"]
    sha256: str


def load_warehouse(script: Path, target: Path) -> Loaded:
    """Build the SQLite file `target` from an SQL script; again from the same script changes nothing.

    Raises:
        BadInput: the script cannot be read or is not valid SQL, or `target` exists and was not made by this command.
    """
    text = read_script(script)
    digest = digest_of(text)
    if target.exists():
        before = warehouse.loaded_from(str(target))
        if before == digest:
            return Loaded(target, "unchanged", digest)
        if before is None:
            raise BadInput(
                f"{target} exists and was not made by `plms kpi warehouse load`; move it away, or point "
                "PLMS_KPI_DATABASE_URL at it.",
                code="foreign_warehouse",
            )
    with made_aside(target) as partial:
        warehouse.build(text, str(partial), digest)
    return Loaded(target, "loaded", digest)
