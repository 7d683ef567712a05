"""How do samples come in and artifact folders go out?

A folder appears under its name whole or not at all: it is made beside its place and renamed. The executor may write below
one root only, whatever path a card names, and follows no symbolic link on the way there.
"""

from __future__ import annotations

import csv
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from plms_pipeline.errors import BadInput, NoData, Unprocessable
from plms_pipeline.pas.reference.artifacts import Recipe
from plms_pipeline.pas.reference.outcomes import Outcomes
from plms_pipeline.pas.reference.samples import cost_samples, duration_samples

COSTS = "swebench_agent_runs.csv.gz"
DURATIONS = "metr_agent_runs.csv.gz"


def load_outcomes(samples: Path, *, longest_ms: int) -> Outcomes:
    """Read the shipped samples once.

    Raises:
        NoData: the folder or one of its two files is not there, or nothing in it is as short as `longest_ms`.
    """
    try:
        return Outcomes(
            cost_samples(_rows(samples / COSTS)), duration_samples(_rows(samples / DURATIONS)), longest_ms=longest_ms
        )
    except (OSError, KeyError, ValueError) as error:
        raise NoData(
            f"{samples} does not hold the sample receipts ({COSTS}, {DURATIONS}) that outcomes are replayed from "
            f"({error}); name the folder with --samples.",
            code="no_samples",
        ) from None


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)


class ArtifactRoot:
    """The one folder below which artifacts may be written, and the samples that they are copied from."""

    def __init__(self, root: Path, samples: Path) -> None:
        self._root = root.resolve()
        self._samples = samples / "artifacts"

    def checked(self, folder: str) -> Path:
        """The path of a card's folder.

        Raises:
            Unprocessable: it is not absolute, or lies outside the root (`bad_artifacts_dir`).
        """
        path = Path(folder)
        if "\0" in folder or not path.is_absolute() or ".." in path.parts:
            raise Unprocessable("payload.artifacts_dir must be an absolute path without '..'", code="bad_artifacts_dir")
        try:
            path = path.resolve()
        except (OSError, RuntimeError) as error:  # too long a name; links in a circle
            raise Unprocessable(f"payload.artifacts_dir is no path ({error}).", code="bad_artifacts_dir") from None
        if not path.is_relative_to(self._root) or path == self._root:
            raise Unprocessable(
                f"payload.artifacts_dir must lie below {self._root}; start the executor with --artifacts-root otherwise.",
                code="bad_artifacts_dir",
            )
        return path

    def stage(self, folder: str, recipe: Recipe) -> None:
        """Make a folder by its recipe, replacing what an interrupted attempt of the same card left there."""
        with self.replacing(folder) as fresh:
            if recipe.source is not None:
                shutil.copytree(self._samples / recipe.source, fresh, dirs_exist_ok=True)
            for name, text in recipe.texts.items():
                file = fresh / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")

    @contextmanager
    def replacing(self, folder: str) -> Iterator[Path]:
        """A new folder beside `folder`, which takes its place when the block ends, also after an error inside.

        What failed is worth looking at too.

        Raises:
            BadInput: the place cannot be written (`bad_artifacts_dir`).
        """
        target = self.checked(folder)
        mark = f".{target.name}.pas-"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for stale in target.parent.glob(f"{mark}*"):
                shutil.rmtree(stale, ignore_errors=True)
            fresh = target.with_name(f"{mark}{uuid4().hex[:8]}")
            fresh.mkdir(mode=0o755)
        except OSError as error:
            raise BadInput(f"{target} cannot be written ({error.strerror}).", code="bad_artifacts_dir") from None
        try:
            yield fresh
        finally:
            _swap(fresh, target)


def _swap(fresh: Path, target: Path) -> None:
    if target.exists():
        aside = fresh.with_name(fresh.name + "-old")
        target.rename(aside)
        os.replace(fresh, target)  # noqa: PTH105 - the call that is atomic by contract
        shutil.rmtree(aside, ignore_errors=True)
    else:
        os.replace(fresh, target)  # noqa: PTH105 - the call that is atomic by contract


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for a command whose results nobody wants, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="plms-pas-") as folder:
        inner = Path(folder) / "work"
        inner.mkdir()
        Path(folder).chmod(0o711)
        yield inner


def prepare_db(path: Path) -> str:
    """Make the folder of the executor's database; the path as text.

    Raises:
        BadInput: the folder cannot be made (`bad_pas_db`).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{path.parent} cannot be made ({error.strerror}).", code="bad_pas_db") from None
    return str(path)
