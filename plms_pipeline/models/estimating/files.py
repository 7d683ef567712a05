"""How are the receipts of a training and its model kept, and read back?"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.measures import BASES, MEASURES
from plms_pipeline.models.estimating import documents
from plms_pipeline.models.estimating.book import NUMBERS, WORDS, Book
from plms_pipeline.models.estimating.experiment import EstimatesExperiment
from plms_pipeline.models.estimating.model import EstimatesModel
from plms_pipeline.models.estimating.stored import golden, model_of, parts
from plms_pipeline.models.estimating.walkforward import Walked
from plms_pipeline.models.files.archive import archive_bytes, read_archive
from plms_pipeline.models.files.reading import missing
from plms_pipeline.models.layout import GOLDEN
from plms_pipeline.models.training.files import CANDIDATE, EXPERIMENT, METRICS, PREDICTIONS, RunFolder, keep_run
from plms_pipeline.models.training.manifest import Origin, document_text

SNAPSHOTS: Final = "estimate_snapshots"
MAX_MODEL_BYTES: Final = 1 << 20


def snapshot(root: Path, book: Book) -> Path:
    """Keep receipts below `root` under their content hash, once; where they lie."""
    digest = book.digest()
    path = root / f"{digest}.parquet"
    try:
        is_kept = read_snapshot(path).digest() == digest
    except (NoData, BadInput):
        # Not there yet, or damaged since: written (again).
        is_kept = False
    if is_kept:
        # Whoever takes receipts to train on counts as somebody who needs them: a purge goes by the age of the file.
        path.touch()
    else:
        columns: dict[str, Any] = {name: pa.array(book.columns[name].astype(str), pa.string()) for name in WORDS}
        columns |= {name: book.columns[name] for name in (*NUMBERS, *MEASURES, *BASES)}
        with replacing(path) as stream:
            pq.write_table(pa.table(columns), stream, compression="zstd")
    return path


def read_snapshot(path: Path) -> Book:
    """The receipts that `snapshot` kept.

    Raises:
        NoData: there is no such file (`file_missing`).
        BadInput: it is damaged (`damaged`).
    """
    try:
        table = pq.ParquetFile(path).read()
        columns = {name: table[name].to_numpy(zero_copy_only=False) for name in (*NUMBERS, *MEASURES, *BASES)}
        words = {name: np.asarray([*table[name].to_pylist(), None], dtype=object)[:-1] for name in WORDS}
    except FileNotFoundError:
        raise missing(path) from None
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise BadInput(f"{path} is damaged ({type(error).__name__}); train again.", code="damaged") from None
    return Book({**columns, **words})


def write_estimates(
    root: Path, book: Book, asked: EstimatesExperiment, model: EstimatesModel, walked: Mapping[Any, Walked], origin: Origin,
    metrics: Mapping[str, Any], finish: Callable[[Path], object] | None = None,
) -> RunFolder:  # fmt: skip
    """Keep a training as a run folder, as the other family's; `finish`: the later stages, as of `keep_run`."""
    content = {
        EXPERIMENT: (asked.canonical() + "\n").encode(),
        CANDIDATE: model_bytes(model),
        METRICS: document_text(metrics).encode(),
        GOLDEN: document_text(golden(model, book)).encode(),
        PREDICTIONS: _parquet(walked),
    }
    return keep_run(
        root,
        content,
        lambda digests: documents.manifest(book, asked, model, walked, origin, digests),
        origin.created_at,
        finish=finish,
    )


def _parquet(walked: Mapping[Any, Walked]) -> bytes:
    table = pa.Table.from_pandas(documents.predictions(walked), preserve_index=False)
    stream = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"schema_version": b"1"}), stream, compression="zstd")
    return stream.getvalue()


def model_bytes(model: EstimatesModel) -> bytes:
    """The file of a model: an npz of arrays and one JSON document; the same model gives the same bytes."""
    return archive_bytes(*parts(model))


def load_estimates(path: Path, sha256: str) -> EstimatesModel:
    """A model whose bytes are the expected ones.

    Args:
        sha256: what the registry says about it; compared before anything is parsed.

    Raises:
        NoData: there is no such file (`file_missing`).
        Conflict: its bytes are others (`model_altered`).
        BadInput: it is too large, or no model (`bad_model`).
    """
    return model_of(*read_archive(path, sha256, MAX_MODEL_BYTES))
