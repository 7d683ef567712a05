"""Receipts in Dagster: one partition, a backfill, the night, and the way other assets read them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from sqlalchemy import text

from plms_pipeline.intake.defs import ASSETS, receipt_days, receipts
from plms_pipeline.intake.defs.assets import DAYS
from plms_pipeline.intake.defs.io import DAY_PARQUET, DayParquet
from plms_pipeline.resources import DOCUMENTS, Documents, Plms
from plms_pipeline_tests.intake.conftest import SWEBENCH, Importer, swebench_rows, write_csv

DAY = "2025-07-20"


@pytest.fixture
def filled(sqlite_importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Importer:
    """A registry with three days of receipts, and the environment that Dagster's resources read."""
    for variable in ("DATA_DIR", "REPORTS_DIR", "DATABASE_URL"):
        monkeypatch.setenv(f"PLMS_{variable}", str(getattr(sqlite_importer.settings, variable.lower())))
    for day in ("2025-07-20", "2025-07-21", "2025-07-23"):
        path = write_csv(tmp_path / f"{day}.csv", SWEBENCH, swebench_rows(4, day=day))
        sqlite_importer("swebench", path)
    return sqlite_importer


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def materialize(instance: dg.DagsterInstance, *selection: Any, extra: Any = (), **options: Any) -> Any:
    resources = {"plms": Plms(), DOCUMENTS: Documents(), DAY_PARQUET: DayParquet()}
    chosen = [asset.key for asset in selection]
    return dg.materialize([*ASSETS, *extra], selection=chosen, instance=instance, resources=resources, **options)


def logged(result: Any) -> dict[str | None, dict[str, Any]]:
    """Partition → metadata of the materializations of `receipts`."""
    found = {}
    for event in result.get_asset_materialization_events():
        if event.asset_key == receipts.key:
            metadata = event.step_materialization_data.materialization.metadata
            found[event.partition] = {name: value.value for name, value in metadata.items()}
    return found


def test_one_partition_is_written_and_again_the_same(filled: Importer, instance: dg.DagsterInstance) -> None:
    """Acceptance: `dagster asset materialize --select receipts --partition …` is idempotent to the byte."""
    path = filled.settings.data_dir / "receipts" / f"{DAY}.parquet"
    metadata = []
    for _ in range(2):
        result = materialize(instance, receipts, partition_key=DAY)
        assert result.success
        metadata.append((logged(result), path.read_bytes()))
    assert metadata[0] == metadata[1]
    assert list(metadata[0][0]) == [DAY]
    found = metadata[0][0][DAY]
    assert (found["dagster/row_count"], found["schema_version"]) == (8, "1")
    assert len(found["rows_sha256"]) == len(found["file_sha256"]) == 64


def test_the_night_logs_only_days_whose_bytes_are_new(
    filled: Importer, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """If this fails two years of history are shown as rewritten every night."""
    first = materialize(instance, receipt_days)
    assert sorted(logged(first)) == ["2025-07-20", "2025-07-21", "2025-07-23"]
    assert first.output_for_node("receipt_days")["written"] == 3
    second = materialize(instance, receipt_days)
    assert logged(second) == {}
    assert second.output_for_node("receipt_days") == {
        "stale": 0, "written": 0, "receipts": 0, "bytes": 0, "first_day": None, "last_day": None,
    }  # fmt: skip
    with filled.registry.writing() as session:
        session.execute(text("UPDATE receipt_days SET changed_seq = changed_seq + 1"))
    third = materialize(instance, receipt_days)
    assert third.output_for_node("receipt_days")["stale"] == 3
    assert logged(third) == {}
    filled("swebench", write_csv(tmp_path / "late.csv", SWEBENCH, swebench_rows(1, models=("late",))))
    assert list(logged(materialize(instance, receipt_days))) == [DAY]


def test_a_backfill_of_many_days_is_one_run(filled: Importer, instance: dg.DagsterInstance) -> None:
    tags = {"dagster/asset_partition_range_start": "2025-07-20", "dagster/asset_partition_range_end": "2025-07-23"}
    result = materialize(instance, receipts, tags=tags)
    found = logged(result)
    assert [found[day]["n_receipts"] for day in sorted(found)] == [8, 8, 0, 8]
    assert receipts.backfill_policy == dg.BackfillPolicy.single_run()


def test_other_assets_read_one_day_or_many(filled: Importer, instance: dg.DagsterInstance) -> None:
    materialize(instance, receipt_days)

    @dg.asset(partitions_def=DAYS, io_manager_key=DOCUMENTS)
    def counted(receipts: Any) -> Any:
        return receipts.num_rows

    @dg.asset(ins={"receipts": dg.AssetIn(partition_mapping=dg.SpecificPartitionsPartitionMapping([DAY, "2025-07-21"]))}, io_manager_key=DOCUMENTS)  # fmt: skip  # noqa: E501
    def listed(receipts: Any) -> Any:
        return {key: table.num_rows for key, table in receipts.items()}

    one = materialize(instance, counted, extra=[counted, listed], partition_key=DAY)
    assert one.output_for_node("counted") == 8
    many = materialize(instance, listed, extra=[counted, listed])
    assert many.output_for_node("listed") == {DAY: 8, "2025-07-21": 8}


def test_a_partition_that_is_no_day_never_becomes_a_path(filled: Importer, tmp_path: Path) -> None:
    """Dagster's own base class was seen to write outside its folder for such a key."""
    manager = DayParquet(base=str(tmp_path / "base"))
    with pytest.raises(dg.Failure, match="no partition of receipts"):
        manager.handle_output(dg.build_output_context(partition_key="../../evil", asset_key=["receipts"]), None)
    assert not (tmp_path / "base").exists()


def test_the_io_manager_writes_what_it_reads(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    @dg.asset(partitions_def=DAYS, io_manager_key=DAY_PARQUET)
    def receipts() -> Any:
        return pa.table({"a": [1, 2]})

    @dg.asset(partitions_def=DAYS, io_manager_key=DOCUMENTS)
    def total(receipts: Any) -> Any:
        return sum(receipts["a"].to_pylist())

    resources = {DAY_PARQUET: DayParquet(base=str(tmp_path / "base")), DOCUMENTS: dg.mem_io_manager}
    result = dg.materialize([receipts, total], partition_key=DAY, instance=instance, resources=resources)
    assert result.output_for_node("total") == 3
    assert [path.name for path in (tmp_path / "base" / "receipts").iterdir()] == [f"{DAY}.parquet"]


def test_partitions_are_utc_days_from_the_first_day_to_today() -> None:
    keys = DAYS.get_partition_keys(current_time=datetime(2026, 3, 1, 7, tzinfo=UTC))
    assert (keys[0], keys[-1]) == ("2023-01-01", "2026-03-01")


def test_both_assets_say_what_they_are() -> None:
    for asset in (receipts, receipt_days):
        spec = next(iter(asset.specs))
        assert spec.description
        assert (spec.group_name, list(spec.owners), spec.kinds) == ("intake", ["team:plms"], {"parquet"})
        assert spec.code_version
    assert "dagster/column_schema" in next(iter(receipts.specs)).metadata
