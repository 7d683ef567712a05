"""What does an artifact say about itself, and what may it not say?

`plms_artifact.json` names the lane, the task, the run and where the inputs lie. It names no threshold and no result: a
field that could lower a bar does not exist here, and an unknown field is an error, so nobody believes in one that is
ignored.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from plms_pipeline.errors import BadInput

MANIFEST: Final = "plms_artifact.json"
MAXIMUM_COUNT: Final = 2**53
_FOLDER_LANE: Final = re.compile(r"(?P<lane>\d{1,9})(?:[-_ ].*)?")


def _relative(path: str) -> str:
    # An empty part stands for "//", a leading or trailing slash, or the empty path.
    if {"", ".", ".."} & set(path.split("/")) or "\\" in path or "\0" in path:
        raise ValueError("must be a path inside the artifact, written with / and without . or ..")
    return path


Inside = Annotated[str, Field(max_length=512), AfterValidator(_relative)]


class Strict(BaseModel):
    """Base of what artifacts may hand in: frozen, unknown fields refused, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Inputs(Strict):
    """Where the inputs of the validators lie, relative to the artifact.

    Tests are always those in `tests/`, and the linter sees the whole tree: to choose among them would lower the bar.
    """

    docs: Inside = "generated_docs.md"
    expected_schema: Inside = "expected_schema.json"
    expected_row_count: Inside = "expected_row_count.json"
    expected_edge_count: Inside = "expected_edge_count.json"
    generated: Inside = "generated.txt"
    reference: Inside = "reference.txt"
    echo_vectors: Inside = "echo_vectors.npz"
    echo_source: Inside = "echo_source.txt"
    echo_text: Inside = "echo.txt"


class Manifest(Strict):
    """`plms_artifact.json`."""

    lane: int | Annotated[str, Field(min_length=1, max_length=64)] | None = None
    task_id: int | Annotated[str, Field(min_length=1, max_length=255)] | None = None
    run_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    inputs: Inputs = Inputs()

    @property
    def task(self) -> str | None:
        """The task's id as text, as the registry keeps it."""
        return None if self.task_id is None else str(self.task_id)


class ExpectedSchema(Strict):
    """`expected_schema.json`: the table and the type of each of its columns."""

    table_fq: str
    columns: Annotated[dict[str, str], Field(alias="schema", min_length=1, max_length=2000)]


class ExpectedRowCount(Strict):
    """`expected_row_count.json`."""

    table_fq: str
    row_count: Annotated[int, Field(ge=0, le=MAXIMUM_COUNT)]


class ExpectedEdgeCount(Strict):
    """`expected_edge_count.json`: a reading Cypher query that returns one number, and the number expected."""

    cypher: Annotated[str, Field(min_length=1, max_length=10_000)]
    edge_count: Annotated[int, Field(ge=0, le=MAXIMUM_COUNT)]


Model = TypeVar("Model", bound=Strict)


def parse(model: type[Model], text: str, name: str) -> Model:
    """Validate a JSON file of an artifact.

    Args:
        model: what it must be.
        text: its content.
        name: how to call it in the error.

    Raises:
        BadInput: not JSON, or a field is missing, unknown or of the wrong type (`bad_artifact_input`).
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first: Any = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(
            f"{name}: {where + ': ' if where else ''}{first['msg']}; "
            f"fields are {', '.join(field.alias or key for key, field in model.model_fields.items())}.",
            code="bad_artifact_input",
        ) from None
    except RecursionError:
        raise BadInput(f"{name}: nested too deeply.", code="bad_artifact_input") from None


def lane_of_folder(name: str) -> str | None:
    """The lane that a folder's name begins with (`4200-parser` → `4200`), or None; the manifest's lane goes before it."""
    found = _FOLDER_LANE.fullmatch(name)
    return found["lane"] if found else None
