"""Where is the secret that signs the executor's events, when nobody configured one?

In `$PLMS_DATA_DIR/secrets/pas_webhook`, made on first use: `plms serve` and `plms pas serve` on one machine then agree
without a word. A constant in the source would be known to everybody; two processes that start at once must not each make
their own, so the file is linked into place, whole, and whoever comes second reads it.
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from plms_pipeline.errors import BadInput
from plms_pipeline.settings import Settings

FOLDER = "secrets"
FILE = "pas_webhook"
_BYTES = 32


def webhook_secret(settings: Settings) -> bytes:
    """PLMS_PAS_WEBHOOK_SECRET, or the secret of this data directory.

    Raises:
        BadInput: the file cannot be read or made, may be read by others, or is empty (`bad_pas_secret`).
    """
    if settings.pas_webhook_secret is not None:
        return settings.pas_webhook_secret.encode()
    path = settings.data_dir / FOLDER / FILE
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise BadInput(f"{path} may be read by others; remove it, and restart what uses it.", code="bad_pas_secret")
        secret = path.read_bytes().strip()
    except OSError as error:
        raise BadInput(f"{path} cannot be used ({error.strerror}).", code="bad_pas_secret") from None
    if len(secret) < _BYTES:
        raise BadInput(f"{path} is too short for a secret; remove it.", code="bad_pas_secret")
    return secret


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(os.urandom(_BYTES).hex().encode())
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return  # Somebody was faster; theirs holds.
    finally:
        temporary.unlink(missing_ok=True)
