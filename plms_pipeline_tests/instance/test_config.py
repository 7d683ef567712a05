"""What `dagster.yaml` says."""

from __future__ import annotations

import yaml
from dagster._core.instance.ref import InstanceRef
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.instance.config import checkout_yaml, instance_yaml, state_paths
from plms_pipeline.settings import project_root

STORAGE_KEYS = {"storage", "local_artifact_storage", "compute_logs"}


def test_the_shipped_file_is_the_one_that_the_code_writes() -> None:
    """Otherwise the default instance and one with PLMS_DATA_DIR would behave differently."""
    root = project_root()
    assert root is not None
    assert (root / "dagster.yaml").read_text(encoding="utf-8") == checkout_yaml()


def test_written_and_shipped_instances_differ_only_in_where_they_store() -> None:
    """Otherwise limits and retries would depend on the data directory."""
    shipped, written = yaml.safe_load(checkout_yaml()), yaml.safe_load(instance_yaml("/d"))
    assert STORAGE_KEYS.isdisjoint(shipped)
    assert {key: value for key, value in written.items() if key not in STORAGE_KEYS} == shipped


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1))
def test_any_directory_name_is_read_back_as_written(name: str) -> None:
    """A quote, a colon or a newline in a path would otherwise change the meaning of the file."""
    loaded = yaml.safe_load(instance_yaml(f"/{name}"))
    paths = state_paths(f"/{name}")
    assert loaded["storage"]["sqlite"]["base_dir"] == paths["storage"]
    assert loaded["compute_logs"]["config"]["base_dir"] == paths["compute_logs"]
    assert loaded["local_artifact_storage"]["config"]["base_dir"] == paths["artifacts"]


def test_dagster_accepts_every_key(tmp_path) -> None:  # type: ignore[no-untyped-def]  # pytest's fixture
    """An unknown key makes every Dagster process refuse to start."""
    (tmp_path / "dagster.yaml").write_text(instance_yaml(str(tmp_path)))
    settings = InstanceRef.from_dir(str(tmp_path)).settings
    assert settings["telemetry"] == {"enabled": False}
    assert settings["nux"] == {"enabled": False}
    assert settings["freshness"] == {"enabled": True}
    assert settings["run_monitoring"]["max_runtime_seconds"] == 7200  # type: ignore[index]  # a mapping of objects
    assert settings["run_retries"]["retry_on_asset_or_op_failure"] is False  # type: ignore[index]
    assert settings["python_logs"]["managed_python_loggers"] == ["plms_pipeline"]  # type: ignore[index]
    assert settings["concurrency"]["pools"]["granularity"] == "op"  # type: ignore[index]
