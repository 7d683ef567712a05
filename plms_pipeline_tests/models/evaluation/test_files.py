"""Predictions that were judged anew are written in the format of their name, and read back as they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plms_pipeline.models.evaluation.files import table_bytes
from plms_pipeline.models.reporting.files import read_predictions

ROWS = pd.DataFrame({
    "timestamp": pd.to_datetime(["2026-03-02T00:00:00Z", "2026-03-03T12:30:00.000001Z"], format="ISO8601"),
    "symbol": ["A,\"B\"", "ü"],
    "predicted": [0.1234567890123, np.nan],
})  # fmt: skip


@pytest.mark.parametrize("name", ["p.csv", "p.CSV", "p.json", "p.jsonl", "p.parquet", "p"])
def test_a_table_comes_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    """Who asks for CSV and gets Parquet under that name finds out in another program."""
    path = tmp_path / name
    path.write_bytes(table_bytes(ROWS, path))
    found = read_predictions(path)
    assert list(found.columns) == list(ROWS.columns)
    assert pd.to_datetime(found["timestamp"], utc=True, format="ISO8601").tolist() == ROWS["timestamp"].tolist()
    assert found["symbol"].tolist() == ROWS["symbol"].tolist()
    assert found["predicted"].to_numpy(float) == pytest.approx(ROWS["predicted"].to_numpy(), rel=1e-12, nan_ok=True)


def test_the_bytes_are_of_the_format_that_the_name_says() -> None:
    assert table_bytes(ROWS, Path("p.csv")).startswith(b"timestamp,symbol,predicted\n2026-03-02T00:00:00.000000")
    assert len(json.loads(table_bytes(ROWS, Path("p.json")))) == 2
    assert [json.loads(line)["symbol"] for line in table_bytes(ROWS, Path("p.jsonl")).splitlines()] == ['A,"B"', "ü"]
    assert table_bytes(ROWS, Path("p.pq")).startswith(b"PAR1")
