"""What compose.yaml and the units of systemd start, read for tests."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from plms_pipeline_tests.deploy.programs import DEPLOY

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
INSTALLED = "/opt/plms/.venv/bin/plms"
# What could stand in the files that are named to our processes.
SECRETS = {
    "PLMS_DATABASE_URL_FILE": "postgresql+psycopg://plms@127.0.0.1/plms", "PLMS_PAS_TOKEN_FILE": "no-real-token",
    "PLMS_PAS_WEBHOOK_SECRET_FILE": "0123456789abcdef" * 2, "SLACK_WEBHOOK_URL_FILE": "http://127.0.0.1:9/slack",
    "PD_ROUTING_KEY_FILE": "0123456789abcdef" * 2,
}  # fmt: skip


def written(names: Iterable[str], folder: Path, **changes: str) -> dict[str, str]:
    """The variables among `names` that name a file of a secret, with such files in a folder."""
    found = {}
    for name in names:
        if name.endswith("_FILE"):
            place = folder / name
            place.write_text(changes.get(name, SECRETS[name]), encoding="utf-8")
            place.chmod(0o600)
            found[name] = str(place)
    return found


@cache
def compose() -> dict[str, Any]:
    """The compose file; anchors resolved."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return found


def ours() -> dict[str, dict[str, Any]]:
    """Services that run our own image, by name."""
    return {
        name: service for name, service in compose()["services"].items() if service["image"].startswith("plms-pipeline")
    }


def settings_of(unit: Path) -> dict[str, list[str]]:
    """Every key of a unit with its values; sections and comments are left out."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        key, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def commands() -> list[tuple[str, list[str]]]:
    """(where it stands, words) of every `plms …` that is started."""
    found = []
    for name, service in ours().items():
        words = service["command"]
        if words[0] == "sh":
            lines = words[-1].replace("(", " ").replace(")", " ").replace("||", "&&").split("&&")
            found += [(f"compose {name}", shlex.split(line)[1:]) for line in lines if line.strip().startswith("plms ")]
        else:
            assert words[0] == "plms", words
            found.append((f"compose {name}", list(words[1:])))
    for unit in UNITS:
        for line in settings_of(unit)["ExecStart"]:
            words = shlex.split(line)
            assert words[0] == INSTALLED, line
            found.append((unit.name, words[1:]))
    return found


def environment_names() -> dict[str, set[str]]:
    """Names of the variables that are given to our processes, by where they stand."""
    found = {f"compose {name}": set(service["environment"]) for name, service in ours().items()}
    lines = (DEPLOY / "systemd" / "plms.env.example").read_text(encoding="utf-8").splitlines()
    found["plms.env.example"] = {line.partition("=")[0] for line in lines if "=" in line and not line.startswith("#")}
    return found
