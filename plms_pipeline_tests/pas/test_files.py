"""Do both sides of one machine find the same webhook secret?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.pas.files import webhook_secret
from plms_pipeline.settings import Settings, load_settings


def test_processes_that_start_at_once_agree_on_one_secret(settings: Settings) -> None:
    """Two secrets mean that every completion of the first day is refused as forged."""
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(lambda _: webhook_secret(settings), range(32)))
    assert len(secrets) == 1
    assert [path.name for path in (settings.data_dir / "secrets").iterdir()] == ["pas_webhook"]


def test_the_secret_is_for_its_owner_only(settings: Settings) -> None:
    """Whoever reads it can report work as done."""
    webhook_secret(settings)
    path = settings.data_dir / "secrets" / "pas_webhook"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(BadInput, match="read by others"):
        webhook_secret(settings)


def test_a_configured_secret_is_used_and_nothing_is_made(tmp_path: Path) -> None:
    """With PAS on another machine the secret comes from the environment."""
    settings = load_settings(
        {
            "PLMS_DATA_DIR": str(tmp_path / "data"),
            "PLMS_REPORTS_DIR": str(tmp_path),
            "PLMS_PAS_WEBHOOK_SECRET": "0123456789abcdef",
        }
    )
    assert webhook_secret(settings) == b"0123456789abcdef"
    assert not (tmp_path / "data").exists()
    assert "0123456789abcdef" not in repr(settings)


def test_an_emptied_secret_is_refused(settings: Settings) -> None:
    """An empty key signs everything for everybody."""
    webhook_secret(settings)
    (settings.data_dir / "secrets" / "pas_webhook").write_bytes(b"")
    with pytest.raises(BadInput, match="too short"):
        webhook_secret(settings)
