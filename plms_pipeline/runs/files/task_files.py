"""Where do task files lie, and what do they hold?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plms_pipeline.errors import BadInput
from plms_pipeline.runs.plan_document import MAX_CHARACTERS
from plms_pipeline.settings import project_root

# A character has at most four bytes.
MAX_BYTES: Final = 4 * MAX_CHARACTERS


@dataclass(frozen=True, slots=True)
class TaskFile:
    """The text of a task file and the name by which messages call it."""

    name: str
    text: str
    is_csv: bool


def read_task_file(path: Path) -> TaskFile:
    """The text of a task file; what ends in `.csv` is CSV, everything else YAML (of which JSON is a part).

    Raises:
        BadInput: it cannot be read, is too large, or is no text.
    """
    try:
        # Read no further than the limit: a pipe or a device has no size to be asked for beforehand.
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise BadInput(f"{path} is larger than {MAX_BYTES >> 20} MiB; split the project.", code="bad_project_file")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{path} is no UTF-8 text; a task file is YAML or CSV.", code="bad_project_file") from None
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read ({error.strerror or error}); check the path of --from.", code="bad_project_file"
        ) from None
    return TaskFile(path.name, text, path.suffix.casefold() == ".csv")


def sample_files() -> dict[int, TaskFile]:
    """The sample projects that ship, by the id that each must have: the number that its file begins with.

    Raises:
        BadInput: this installation is not a checkout and ships none.
    """
    root = project_root()
    folder = root / "data" / "samples" / "projects" if root else None
    files = sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []
    found = {int(path.name.split("-")[0]): path for path in files if path.name.split("-")[0].isdecimal()}
    if not found:
        raise BadInput("This installation ships no sample projects; it is not a checkout.", code="missing_samples")
    return {number: read_task_file(path) for number, path in sorted(found.items())}
