"""Where do refused rows lie?

`$PLMS_DATA_DIR/quarantine/<source>-<first 12 of the file's SHA-256>.csv`: what the last import of that very file refused. It
appears whole at the end of the import, or not at all; an import that refuses nothing removes it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from plms_pipeline.errors import Unavailable
from plms_pipeline.instance.files.atomic import Abandoned, replacing
from plms_pipeline.intake.quarantine import write_header, write_rows
from plms_pipeline.intake.reasons import Rejected

FOLDER = "quarantine"


def quarantine_path(data_dir: Path, source: str, sha256: str) -> Path:
    """The quarantine file of one imported file."""
    return data_dir / FOLDER / f"{source}-{sha256[:12]}.csv"


class QuarantineFile:
    """A list of refused rows in the making; leave the block with an error and nothing has changed on disk.

    The temporary file is made with the first refusal: an import that refuses nothing touches no disk.
    """

    def __init__(self, path: Path, thing: str) -> None:
        self.path = path
        self.thing = thing
        self.count = 0
        self._replacing: AbstractContextManager[IO[bytes]] | None = None
        self._text: io.TextIOWrapper | None = None

    def __enter__(self) -> QuarantineFile:
        return self

    def add(self, rejected: Iterable[Rejected]) -> None:
        """Append refusals.

        Raises:
            Unavailable: the disk refuses.
        """
        rows = list(rejected)
        if not rows:
            return
        with self._outages():
            if self._text is None:
                self._replacing = replacing(self.path)
                self._text = io.TextIOWrapper(
                    self._replacing.__enter__(), encoding="utf-8", newline="", write_through=True
                )
                write_header(self._text)
            write_rows(self._text, self.thing, rows)
        self.count += len(rows)

    @contextmanager
    def _outages(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                f"The quarantine {self.path} cannot be written ({error.strerror}); make room or check the rights of its "
                "folder. Rows imported so far are kept; import the file again.",
                code="quarantine_unwritable",
            ) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._replacing is None or self._text is None:
            if error is None:
                with self._outages():
                    self.path.unlink(missing_ok=True)
            return
        if error is None:
            with self._outages():
                self._text.detach()
                self._replacing.__exit__(None, None, None)
            return
        with suppress(OSError):
            self._text.detach()
            self._replacing.__exit__(Abandoned, Abandoned(), None)
            # Only when it is empty: a refused file leaves no trace.
            self.path.parent.rmdir()
