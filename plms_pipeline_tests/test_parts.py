"""Parts that are found: a new file is offered without a list that somebody forgets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from plms_pipeline.parts import offered, parts_of


def test_every_module_is_found_in_the_order_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs, routes and commands come in the same order on every machine, whatever its file system lists first."""
    package = tmp_path / "some_parts"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "late.py").write_text("JOBS = ['c']")
    (package / "early.py").write_text("JOBS = ['a', 'b']")
    (package / "middle.py").write_text("OTHER = ['x']")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found = parts_of("some_parts", [str(package)])
    finally:
        for name in [name for name in sys.modules if name.startswith("some_parts")]:
            del sys.modules[name]
    assert [part.__name__ for part in found] == ["some_parts.early", "some_parts.late", "some_parts.middle"]
    assert offered(found, "JOBS") == ["a", "b", "c"]
    assert offered(found, "SENSORS") == []
