"""What may run once on a data directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from plms_pipeline.errors import VerdictNo
from plms_pipeline.instance.files.lock import exclusive


def test_a_lock_says_who_holds_it_and_is_free_again_afterwards(tmp_path: Path) -> None:
    """Two daemons on one instance start every scheduled run twice."""
    lock = tmp_path / "ui.lock"
    with exclusive(lock, "process 7, http://x", "`plms ui`"):
        second = exclusive(lock, "process 8", "`plms ui`")
        with pytest.raises(VerdictNo, match=r"`plms ui` already runs .*process 7, http://x") as caught:
            second.__enter__()
        assert (caught.value.code, caught.value.exit_code) == ("already_running", 1)
    with exclusive(lock, "process 9", "`plms ui`"):
        assert lock.read_text() == "process 9"
