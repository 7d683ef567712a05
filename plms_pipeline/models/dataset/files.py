"""Where does the current dataset lie, and how is it read while it is being replaced?

`market_dataset/current.json` names a content hash; the bars lie under that hash among the snapshots, whose files never
change. So the digest is one small read, whoever reads sees one whole dataset or the other, and what a training began with
stays where it was while the next import lands. Imports take turns by a lock that the kernel releases when its holder dies; each
leaves a document of what it did and, where it replaced values, a file of these.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as pacsv

from plms_pipeline.errors import BadInput, NoData, NotFound
from plms_pipeline.instance.files.atomic import replacing
from plms_pipeline.models.dataset.revising import Revised
from plms_pipeline.models.market.bars import Bars
from plms_pipeline.models.market.checks import Rejected
from plms_pipeline.models.market.files.keeping import read_bars, snapshot, write_rejected

DATASET: Final = "market_dataset"
SNAPSHOTS: Final = "market_snapshots"
CURRENT: Final = "current.json"
IMPORTS: Final = "imports"
REVISIONS: Final = "revisions"
QUARANTINE: Final = "quarantine"
SCHEMA_VERSION: Final = 1
_CHUNK: Final = 1 << 20
_TRIES: Final = 5


def current(root: Path) -> dict[str, Any] | None:
    """What is said of the current dataset; None when nothing was imported yet.

    Args:
        root: the data folder.

    Raises:
        BadInput: the document is damaged.
    """
    path = root / DATASET / CURRENT
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        document = None
    digest = document.get("content_hash") if isinstance(document, dict) else None
    if not isinstance(digest, str) or len(digest) != 64 or not digest.isalnum():
        raise BadInput(f"{path} is damaged; import the prices again.", code="damaged")
    return dict(document or {})


def current_digest(root: Path) -> str | None:
    """Content hash of the current dataset, without reading it; None when nothing was imported yet.

    Raises:
        BadInput: the document that names it is damaged.
    """
    found = current(root)
    return None if found is None else str(found["content_hash"])


def current_bars(root: Path) -> tuple[Bars, str]:
    """The bars of the current dataset and their content hash, which they were compared with.

    Raises:
        NoData: nothing was imported yet (`no_bars`).
        NotFound: its bars are gone.
        BadInput: the bars are damaged or were changed.
    """
    missing: NotFound | None = None
    for _ in range(_TRIES):
        path = current_path(root)
        try:
            return read_bars(path), path.stem
        except NotFound as error:
            # Between the two reads an import may have replaced the dataset, and a purge removed what it was.
            missing = error
            if current_path(root) == path:
                break
    raise missing or NotFound(f"The dataset of {root} keeps changing; try again.", code="no_bars")


def current_path(root: Path) -> Path:
    """The file that holds the current dataset; it never changes, whatever is imported meanwhile.

    Raises:
        NoData: nothing was imported yet (`no_bars`).
        BadInput: the document that names it is damaged.
    """
    digest = current_digest(root)
    if digest is None:
        raise NoData(
            f"No prices were imported into {root}; run `plms import prices FILE`, or name a file of prices.",
            code="no_bars",
        )
    return snapshot_path(root, digest)


def snapshot_path(root: Path, digest: str) -> Path:
    """Where the bars of a content hash lie, or would."""
    return root / SNAPSHOTS / f"{digest}.parquet"


@contextmanager
def importing(root: Path) -> Iterator[None]:
    """Only one import at a time reads what is current and replaces it."""
    folder = root / DATASET
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def publish(root: Path, bars: Bars, document: Mapping[str, Any], revised: Revised, *, name: str) -> str:
    """Keep bars under their hash, record what an import did, and make them the current dataset; their hash.

    The bars and the record come first: whoever dies in between leaves the old dataset and two files that nobody names.
    """
    _, digest = snapshot(root / SNAPSHOTS, bars)
    folder = root / DATASET
    if revised.count:
        _write_revised(folder / REVISIONS / f"{name}.csv", revised)
    told = {**document, "schema_version": SCHEMA_VERSION, "content_hash": digest}
    for path in (folder / IMPORTS / f"{name}.json", folder / CURRENT):
        with replacing(path) as stream:
            stream.write((json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())
    return digest


def _write_revised(path: Path, revised: Revised) -> None:
    symbols = [name.encode("unicode_escape").decode() for name in revised.symbol]
    table = pa.table(
        {
            "timestamp": pa.array(revised.timestamp, pa.timestamp("us")),
            "symbol": [f"'{name}" if name[:1] in {"=", "+", "-", "@"} else name for name in symbols],
            **{f"{name}_before": values for name, values in revised.before.items()},
            **{f"{name}_after": values for name, values in revised.after.items()},
        }
    )
    with replacing(path) as stream:
        pacsv.write_csv(table, stream)


def quarantine(root: Path, sha256: str, rejected: Rejected) -> Path:
    """Keep the rows of a file that were refused; where."""
    path = root / QUARANTINE / f"prices-{sha256[:12]}.csv"
    write_rejected(path, rejected)
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        NotFound: there is no such file.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(_CHUNK):
                digest.update(chunk)
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(f"There is no file {path}; check the path.", code="file_missing") from None
    return digest.hexdigest()
