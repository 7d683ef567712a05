"""Which packages does requirements.lock ask for on this platform, and which of them are installed otherwise?

The lock is universal: one file for every Python and system, with markers. The obvious comparison, every line against
`pip freeze`, reports packages that belong to another platform.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version


def canonical(name: str) -> str:
    """A package name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(lock: str, environment: Mapping[str, Any]) -> dict[str, str]:
    """Package → version that the lock's text asks for in an environment (PEP 508 marker values).

    Raises:
        ValueError: a line is no exact requirement, which a lock never holds.
    """
    found = {}
    for raw in lock.splitlines():
        line = raw.strip().removesuffix("\\").strip()
        if not line or line.startswith(("#", "--")):
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise ValueError(f"requirements.lock holds {line!r}, which is no requirement") from error
        if requirement.marker is None or requirement.marker.evaluate(dict(environment)):
            found[canonical(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return found


def differences(wanted_versions: Mapping[str, str], installed: Mapping[str, str]) -> list[str]:
    """One sentence for each package that is missing or of another version, in the order of names."""
    found = []
    for name, version in sorted(wanted_versions.items()):
        present = installed.get(name)
        if present is None:
            found.append(f"{name} {version} is missing")
        elif not _same(present, version):
            found.append(f"{name} is {present}, locked {version}")
    return found


def _same(present: str, version: str) -> bool:
    """Whether two spellings are one version by PEP 440: a package may call itself v0.0.21, and the lock 0.0.21."""
    try:
        return Version(present) == Version(version)
    except InvalidVersion:
        return present == version
