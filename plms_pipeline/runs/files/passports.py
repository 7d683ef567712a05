"""Where do people find the passport of a run?

`$PLMS_DATA_DIR/artifacts/<run_id>/passport.json` is a copy; the row in `run_passports` decides. It is written after the start
was committed and again whenever it is missing or differs.
"""

from __future__ import annotations

from pathlib import Path

from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.runs.ids import path_safe
from plms_pipeline.runs.starting import passport_path


def write_copy(data_dir: Path, run_id: str, text: str) -> bool:
    """Make the copy hold `text`; whether anything had to be written.

    Raises:
        BadInput: the run's id may not become part of a path.
        OSError: the disk is full, or the folder may not be written.
    """
    return _write(data_dir / passport_path(path_safe(run_id, "run id")), text)


def write_comparison(data_dir: Path, run_id: str, text: str) -> bool:
    """Put the comparison of a replay beside its passport, as `replay.json`; whether anything had to be written.

    Raises:
        BadInput: the run's id may not become part of a path.
        OSError: the disk is full, or the folder may not be written.
    """
    return _write((data_dir / passport_path(path_safe(run_id, "run id"))).with_name("replay.json"), text)


def _write(target: Path, text: str) -> bool:
    data = text.encode()
    try:
        if target.read_bytes() == data:
            return False
    except OSError:
        pass
    with replacing(target) as stream:
        stream.write(data)
    return True
