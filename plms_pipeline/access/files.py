"""Where are the keys of tokens kept?

In `$PLMS_DATA_DIR/secrets/`, a folder that only its owner may enter: `token_keys.json` is a JWK set with the private keys
(mode 0600), `token_public_keys.json` the public half for others, who verify with PLMS_JWT_PUBLIC_KEYS. One file holds all
keys, so that a rotation is one rename: the obvious file per key leaves a moment in which the new key signs and nobody knows
it yet. A rotated key still verifies for seven days, then it is forgotten.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import HMACAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from plms_pipeline.access.tokens import Algorithm, Key
from plms_pipeline.errors import BadInput, NoData, VerdictNo
from plms_pipeline.instance.files.atomic import replacing

FOLDER = "secrets"
PRIVATE_FILE = "token_keys.json"
PUBLIC_FILE = "token_public_keys.json"
RSA_BITS = 3072
MIN_RSA_BITS = 2048
SECRET_BYTES = 32
KEEP_RETIRED = timedelta(days=7)
_MAKE_KEYS = "`plms token keys` makes keys"


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of this installation: `current` signs, `public` verify."""

    current: Key
    public: dict[str, Key]
    public_file: Path


def make_keys(data_dir: Path, *, alg: Algorithm, now: datetime, rotate: bool) -> KeySet:
    """Make the signing key, or with `rotate` a new one beside those that may still verify.

    Args:
        data_dir: PLMS_DATA_DIR.
        alg: what the new key is for.
        now: written into the key; retired keys older than seven days are dropped.
        rotate: replace the key that signs.

    Raises:
        VerdictNo: there is a key already and `rotate` is false (`keys_exist`).
        BadInput: the key file cannot be read or written.
    """
    folder = _private_folder(data_dir)
    with _locked(folder):
        entries = _entries(folder / PRIVATE_FILE) if (folder / PRIVATE_FILE).exists() else []
        if entries and not rotate:
            raise VerdictNo(
                f"{folder / PRIVATE_FILE} holds a key already; `plms token keys --rotate` replaces it and lets the old one "
                f"verify for {KEEP_RETIRED.days} more days.",
                code="keys_exist",
            )
        kept = [entry for entry in (_retired(entry, now) for entry in entries) if _still_verifies(entry, now)]
        entries = [_new_entry(alg, now), *kept]
        _write(folder / PRIVATE_FILE, {"keys": entries}, mode=0o600)
        _write(
            folder / PUBLIC_FILE, {"keys": [_public(entry) for entry in entries if entry["kty"] == "RSA"]}, mode=0o644
        )
    return signing_keys(data_dir)


def signing_keys(data_dir: Path) -> KeySet:
    """The keys of this installation, with the private one.

    Raises:
        NoData: none was made yet (`no_token_keys`).
        BadInput: the file cannot be read, is open to others, or holds something else.
    """
    file = data_dir / FOLDER / PRIVATE_FILE
    if not file.exists():
        raise NoData(f"There is no key for tokens at {file}; {_MAKE_KEYS}.", code="no_token_keys")
    _require_private(file)
    entries = _entries(file)
    return KeySet(
        current=_key(entries[0], file, private=True),
        public={entry["kid"]: _key(entry, file, private=False) for entry in entries},
        public_file=file.with_name(PUBLIC_FILE),
    )


class KeyRing:
    """The keys that verify, read again when their file has changed: a rotation needs no restart.

    Args:
        data_dir: PLMS_DATA_DIR.
        public_keys: PLMS_JWT_PUBLIC_KEYS, a JWK set with RSA keys only; this installation's own keys when None.
    """

    def __init__(self, data_dir: Path, public_keys: Path | None = None) -> None:
        self._file = public_keys or data_dir / FOLDER / PRIVATE_FILE
        self._is_own = public_keys is None
        self._seen: tuple[int, int, int] | None = None
        self._entries: list[dict[str, Any]] = []
        self._keys: dict[str, Key] = {}

    def keys(self, now: datetime) -> dict[str, Key]:
        """By key id. Costs one `stat` when nothing changed. Equal objects mean equal keys.

        Raises:
            NoData: there is no key file (`no_token_keys`).
            BadInput: it cannot be used.
        """
        try:
            found = self._file.stat()
        except FileNotFoundError:
            raise NoData(f"There is no key for tokens at {self._file}; {_MAKE_KEYS}.", code="no_token_keys") from None
        seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        if seen != self._seen:
            if self._is_own:
                _require_private(self._file)
            entries = _entries(self._file)
            if not self._is_own:
                entries = _foreign(entries, self._file)
            self._keys = {entry["kid"]: _key(entry, self._file, private=False) for entry in entries}
            self._entries, self._seen = entries, seen
        if any(not _still_verifies(entry, now) for entry in self._entries):
            self._entries = [entry for entry in self._entries if _still_verifies(entry, now)]
            self._keys = {entry["kid"]: self._keys[entry["kid"]] for entry in self._entries}
        return self._keys


def _private_folder(data_dir: Path) -> Path:
    folder = data_dir / FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise BadInput(
            f"{folder} cannot be made or closed to others ({error.strerror}); set PLMS_DATA_DIR to a folder of yours.",
            code="bad_token_keys",
        ) from None
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two rotations at once would each drop the other's key."""
    import fcntl

    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _require_private(file: Path) -> None:
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        raise BadInput(
            f"{file} may be read by others (mode {mode:04o}); `chmod 600` it and run `plms token keys --rotate`.",
            code="keys_exposed",
        )


def _entries(file: Path) -> list[dict[str, Any]]:
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
        entries = list(loaded["keys"])
        usable = bool(entries) and len({entry["kid"] for entry in entries}) == len(entries)
        usable &= all(isinstance(entry["kid"], str) and _retirement(entry) is not False for entry in entries)
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror}).", code="bad_token_keys") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        usable, entries = False, []
    if not usable:
        raise BadInput(
            f'{file} is no JWK set, which is {{"keys": [{{"kid": …, "kty": …, "alg": …}}, …]}}; {_MAKE_KEYS}.',
            code="bad_token_keys",
        )
    return entries


def _foreign(entries: list[dict[str, Any]], file: Path) -> list[dict[str, Any]]:
    """The RSA keys of somebody else's set; what is for encryption or another algorithm there is not for us."""
    if any(entry.get("kty") == "oct" for entry in entries):
        raise BadInput(
            f"PLMS_JWT_PUBLIC_KEYS names {file}, which holds a shared secret; a file of public keys holds RSA keys only.",
            code="bad_token_keys",
        )
    usable = [
        {"alg": "RS256", **entry}
        for entry in entries
        if entry.get("kty") == "RSA" and entry.get("use", "sig") == "sig" and entry.get("alg", "RS256") == "RS256"
    ]
    if not usable:
        raise BadInput(f"PLMS_JWT_PUBLIC_KEYS names {file}, which holds no RSA key for RS256.", code="bad_token_keys")
    return usable


def _key(entry: dict[str, Any], file: Path, *, private: bool) -> Key:
    try:
        material = _material(entry, private=private)
    except (InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        material = None
    if material is None:
        raise BadInput(
            f"The key {entry['kid']!r} in {file} is no RS256 key of {MIN_RSA_BITS} bits or more and no HS256 secret of "
            f"{SECRET_BYTES} bytes or more with its `alg`; {_MAKE_KEYS}.",
            code="bad_token_keys",
        )
    return Key(kid=entry["kid"], alg=entry["alg"], material=material)


def _material(entry: dict[str, Any], *, private: bool) -> Any:
    """The key of a JWK for the algorithm that it names; None when it is none that may be used."""
    if (entry.get("alg"), entry.get("kty")) == ("HS256", "oct"):
        secret = HMACAlgorithm.from_jwk(entry)
        return secret if len(secret) >= SECRET_BYTES else None
    if (entry.get("alg"), entry.get("kty")) != ("RS256", "RSA"):
        return None
    key = RSAAlgorithm.from_jwk(entry)
    if key.key_size < MIN_RSA_BITS:
        return None
    if isinstance(key, rsa.RSAPrivateKey):
        return key if private else key.public_key()
    return None if private else key


def _new_entry(alg: Algorithm, now: datetime) -> dict[str, Any]:
    if alg == "HS256":
        jwk: dict[str, Any] = HMACAlgorithm.to_jwk(os.urandom(SECRET_BYTES), as_dict=True)
        kid = uuid4().hex[:16]
    else:
        pair = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        jwk = RSAAlgorithm.to_jwk(pair, as_dict=True)
        jwk.pop("key_ops", None)
        kid = hashlib.sha256(jwk["n"].encode()).hexdigest()[:16]
    return {**jwk, "kid": kid, "alg": alg, "use": "sig", "created_at": now.isoformat()}


def _retired(entry: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {**entry, "retired_at": entry.get("retired_at", now.isoformat())}


def _retirement(entry: dict[str, Any]) -> datetime | Literal[False] | None:
    """When a key stopped signing: None while it signs, False when what stands there is no moment with a zone."""
    written = entry.get("retired_at")
    if written is None:
        return None
    moment = datetime.fromisoformat(written)
    return moment if moment.tzinfo is not None else False


def _still_verifies(entry: dict[str, Any], now: datetime) -> bool:
    moment = _retirement(entry)
    return not moment or now < moment + KEEP_RETIRED


def _public(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("kty", "kid", "alg", "use", "n", "e")}


def _write(file: Path, document: dict[str, Any], *, mode: int) -> None:
    """Replace a file in one step; it never exists with wider rights than `mode`, not even under its temporary name."""
    try:
        with replacing(file, mode=mode) as stream:
            stream.write(json.dumps(document, indent=1, sort_keys=True).encode())
    except OSError as error:
        raise BadInput(f"{file} cannot be written ({error.strerror}); free some space and try again.") from error
