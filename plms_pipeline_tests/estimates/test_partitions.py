from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from plms_pipeline.estimates.partitions import numbers, summarise_partitions, summarise_table
from plms_pipeline.estimates.summary import encode


def table(first: int, n: int) -> pa.Table:
    rng = np.random.default_rng(first)
    cost = [None if i % 7 == 0 else Decimal(int(1e6 * np.exp(rng.standard_normal()))).scaleb(-6) for i in range(n)]
    return pa.table({
        "lane_id": pa.array(rng.choice([4200, 6100], n), pa.int32()),
        "provider": pa.array(rng.choice(["a", "b", "c"], n).tolist()),
        "tokens": pa.array(rng.integers(0, 9000, n)), "duration_ms": pa.array([None] * n, pa.int64()),
        "cost_usd": pa.array(cost, pa.decimal128(14, 6)),
    })  # fmt: skip


def test_partitions_merge_to_what_one_table_gives_with_any_number_of_threads() -> None:
    """A history rebuilt on many machines must be the history rebuilt on one."""
    parts = [table(first, 200) for first in range(5)]
    reads = [partial(lambda part: part, part) for part in parts]
    whole = summarise_table(pa.concat_tables(parts), alpha=0.3)
    with ThreadPoolExecutor(2) as pool:
        merged = summarise_partitions(reads, alpha=0.3, each=pool.map)
    alone = summarise_partitions(reads, alpha=0.3)
    assert set(whole) == set(merged)
    assert {measure for _, measure in whole} == {"tokens", "cost_usd"}
    for key, summary in whole.items():
        assert encode(merged[key], alpha=0.3) == encode(alone[key], alpha=0.3)
        assert (merged[key].n, merged[key].n_zero) == (summary.n, summary.n_zero)
        np.testing.assert_allclose(merged[key].moments, summary.moments, rtol=1e-9)
        np.testing.assert_allclose(merged[key].weights, summary.weights, rtol=1e-9)
        assert merged[key].ewma_b == pytest.approx(summary.ewma_b, rel=1e-9)


@pytest.mark.parametrize("offset", [0, 3])
def test_decimals_are_read_from_their_bits(offset: int) -> None:
    """Money goes through no text and no Python object, and must still be the same money."""
    values = [Decimal("0.180000"), None, Decimal("99999999.999999"), Decimal(0), Decimal("0.000001"), Decimal("7.25")]
    column = pa.chunked_array([pa.array(values, pa.decimal128(14, 6)).slice(offset)])
    expected = [np.nan if value is None else float(value) for value in values[offset:]]
    np.testing.assert_array_equal(numbers(column), expected)


def test_an_empty_partition_has_no_summaries() -> None:
    """A day without receipts is a day, not an error."""
    assert summarise_table(table(0, 0), alpha=0.3) == {}
    assert summarise_table(table(0, 5).slice(0, 0), alpha=0.3) == {}


def test_a_lane_that_is_no_16_bit_number_is_refused() -> None:
    """A damaged file must not be counted under some other lane."""
    wrong = table(0, 5).set_column(0, "lane_id", pa.array([4200, 70_000, 4200, 4200, 4200], pa.int32()))
    with pytest.raises(ValueError, match="70000"):
        summarise_table(wrong, alpha=0.3)
