"""What do the files of rules and of people on call say, and what lies on this machine's disk?

YAML is read node by node, because loaders that make objects lose the lines, unfold aliases, and take `no` for false: a key
twice is a mistake, not the second one.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml

from plms_pipeline.alerts.oncall import OnCall, parse_oncall
from plms_pipeline.alerts.rules import Rule, parse_rules, problem
from plms_pipeline.errors import BadInput, NotFound
from plms_pipeline.settings import Settings, project_root

SHIPPED: Final = Path(__file__).with_name("rules.yaml")
MOST_BYTES: Final = 1_000_000
DEEPEST: Final = 12
Lines = dict[tuple[str | int, ...], int]
# Nanoseconds of the last change, bytes, inode.
Stamp = tuple[int, int, int]


def runbook(rule: str) -> str:
    """What to do about alerts of a rule, as Markdown.

    Args:
        rule: one that there is; never a name from outside, because a path is made of it.

    Raises:
        NotFound: there is no page about it here (`runbook_not_found`).
    """
    root = project_root()
    page = Path("docs", "runbooks", f"{rule}.md")
    try:
        if root is not None:
            return (root / page).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        pass
    raise NotFound(
        f"This installation has no page about {rule}; {page} in the sources may be it, and your own rules need pages of "
        "your own.", code="runbook_not_found",
    )  # fmt: skip


def load_rules(settings: Settings) -> dict[str, Rule]:
    """The rules that count here.

    Raises:
        BadInput: the file cannot be read, or says what makes no sense; with its line (`bad_rules`).
    """
    path = _rules_file(settings)
    document, lines = read_yaml(path, "PLMS_ALERT_RULES")
    return parse_rules(document, lines, path.name)


def load_oncall(settings: Settings, rules: dict[str, Rule]) -> OnCall:
    """Who is told what; nobody but the log where there is no file.

    Raises:
        BadInput: as `load_rules`.
    """
    path = _oncall_file(settings)
    if path is None or (settings.oncall_file is None and not path.is_file()):
        return OnCall()
    document, lines = read_yaml(path, "PLMS_ONCALL_FILE")
    return parse_oncall(document, lines, path.name, rules)


def stamps(settings: Settings) -> tuple[Stamp | None, Stamp | None]:
    """What tells another version of the rules, and of the people on call, from this one; None: there is no such file."""
    return _stamp(_rules_file(settings)), _stamp(_oncall_file(settings))


def _stamp(path: Path | None) -> Stamp | None:
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)


def _rules_file(settings: Settings) -> Path:
    return settings.alert_rules or SHIPPED


def _oncall_file(settings: Settings) -> Path | None:
    if settings.oncall_file is not None:
        return settings.oncall_file
    root = project_root()
    return None if root is None else root / "deploy" / "oncall.yaml"


def read_yaml(path: Path, variable: str) -> tuple[Any, Lines]:
    """A file's values, and the line of each place.

    Raises:
        BadInput: it cannot be read, is no YAML, or holds what is not plain data (`bad_rules`).
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} cannot be read ({type(error).__name__}); correct {variable}.", code="bad_rules"
        ) from None
    if len(text) > MOST_BYTES:
        raise BadInput(f"{path} is larger than {MOST_BYTES:,} bytes; correct {variable}.", code="bad_rules")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise BadInput(
            f"{path.name}{where}: this is no YAML ({getattr(error, 'problem', error)}).", code="bad_rules"
        ) from None
    lines: Lines = {}
    return (None if node is None else _value(node, (), lines, path.name, 0)), lines


def _value(node: Any, place: tuple[str | int, ...], lines: Lines, where: str, depth: int) -> Any:
    # Only the first time: an alias repeats its anchor's place.
    lines.setdefault(place, node.start_mark.line + 1)
    if depth > DEEPEST:
        raise problem(where, lines, place, "this is nested too deeply")
    if isinstance(node, yaml.MappingNode):
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node)
            lines[(*place, key)] = key_node.start_mark.line + 1
            if key in found:
                raise problem(where, lines, (*place, key), f"{key!r} stands here twice")
            if key == "<<":
                raise problem(where, lines, (*place, key), "merge keys are not understood; write the values out")
            found[key] = _value(value_node, (*place, key), lines, where, depth + 1)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(inner, (*place, n), lines, where, depth + 1) for n, inner in enumerate(node.value)]
    return _scalar(node)


_NUMBERS: Final = {"tag:yaml.org,2002:int": int, "tag:yaml.org,2002:float": float}


def _scalar(node: Any) -> Any:
    """Numbers, true, false and null as such; everything else is the text that stands there."""
    text = str(node.value)
    if node.tag in _NUMBERS:
        try:
            return _NUMBERS[node.tag](text)
        except ValueError:
            return text
    if node.tag == "tag:yaml.org,2002:bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return None if node.tag == "tag:yaml.org,2002:null" else text


def read_secret(path: str) -> str:
    """The one line of a secret's file; empty when there is none: the channel is then not configured.

    Raises:
        BadInput: it is there and cannot be read (`bad_setting`).
    """
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The secret file {path} cannot be read ({type(error).__name__}).", code="bad_setting") from None


def free_gib(folder: Path) -> float | None:
    """Free space where a folder lies or will lie; None when nobody can say."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free / 2**30
    except OSError:
        return None


def device_of(folder: Path) -> int | None:
    """The file system of a folder, so that two folders of one are one subject."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return os.stat(folder).st_dev  # noqa: PTH116 - the device, of a folder that was just found
    except OSError:
        return None


def document(path: Path) -> dict[str, Any] | None:
    """A JSON object of the pipeline, or None when there is none to be read."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None


def texts_since(folder: Path, since: float, *, limit: int, most_bytes: int) -> tuple[list[tuple[str, str]], bool]:
    """(name, text) of what was written in a folder since a moment (seconds since 1970); whether some were left out."""
    found: list[tuple[str, str]] = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        try:
            if path.suffix not in (".json", ".md", ".html", ".txt", ".csv", ".log") or not path.is_file():
                continue
            if path.stat().st_mtime < since:
                continue
            if len(found) >= limit:
                return found, True
            with path.open("rb") as file:
                found.append((str(path.relative_to(folder)), file.read(most_bytes).decode("utf-8", "replace")))
        except OSError:
            continue
    return found, False


def text_of(path: Path, *, most_bytes: int) -> str | None:
    """The beginning of a text file, or None when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most_bytes).decode("utf-8", "replace")
    except OSError:
        return None


def nights(reports_dir: Path) -> list[tuple[date, dict[str, Any] | None, dict[str, Any] | None]]:
    """(date, summary, proof) of the newest nightly report, in a list; empty when there is none."""
    found = []
    try:
        folders = [path for path in (reports_dir / "nightly").iterdir() if path.is_dir()]
    except OSError:
        return []
    for folder in folders:
        try:
            found.append((date.fromisoformat(folder.name), folder))
        except ValueError:
            continue
    if not found:
        return []
    night, folder = max(found)
    return [(night, document(folder / "summary.json"), document(folder / "invariants.json"))]
