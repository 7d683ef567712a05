"""How are vectors read from a file that may be a trap?

`.npz` is a zip of `.npy` files. NumPy alone would unpickle objects (that is, run code) if asked to, and unpack a zip bomb
without being asked; here pickles are refused and sizes are checked before a byte is unpacked.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from plms_pipeline.errors import BadInput

NAMES: Final = ("source", "echo")
MAX_UNPACKED: Final = 8 * 1024 * 1024


def load_vectors(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The arrays `source` and `echo` of an `.npz` file.

    Raises:
        BadInput: not such a file, other arrays, more than 8 MiB unpacked, or arrays of Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if sorted(info.filename for info in infos) != sorted(f"{name}.npy" for name in NAMES):
                raise BadInput(f"{path.name} must hold exactly the arrays source and echo", code="bad_artifact_input")
            if any(info.file_size > MAX_UNPACKED for info in infos):
                raise BadInput(f"{path.name} unpacks to more than {MAX_UNPACKED} bytes", code="bad_artifact_input")
        with np.load(path, allow_pickle=False, max_header_size=10_000) as arrays:
            found = arrays["source"], arrays["echo"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError, MemoryError) as error:
        raise BadInput(
            f"{path.name} is not an .npz file of two plain arrays ({error})", code="bad_artifact_input"
        ) from None
    # What does not begin like an array comes back as plain bytes.
    if not all(isinstance(each, np.ndarray) for each in found):
        raise BadInput(f"{path.name} holds something else than arrays", code="bad_artifact_input")
    return found
