"""How is read what a person wrote, such as an experiment? As YAML without its traps; JSON is a part of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from plms_pipeline.errors import BadInput

MAX_BYTES: Final = 1 << 20


class _Loader(yaml.SafeLoader):
    """YAML without its traps: no aliases, no key twice, and `1e-4` is a number."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not admitted; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001 - PyYAML's signature
        names = [key.value for key, _ in node.value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"the key {twice!r} stands twice, in line {node.start_mark.line + 1} ff.")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_document(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML or JSON file, whatever they mean.

    Raises:
        BadInput: there is no such file, or it holds no keys and values.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(f"{path} is larger than 1 MiB; an experiment is some lines.", code="bad_experiment")
        # JSON is read as YAML, of which it is a part.
        document = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)  # noqa: S506 - a SafeLoader that admits less
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check the path.", code="bad_experiment") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        told = " ".join(str(error).split())[:300]
        raise BadInput(f"{path} is no YAML or JSON document ({told}).", code="bad_experiment") from None
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise BadInput(f"{path} must hold keys and values, for instance `seed: 7`.", code="bad_experiment")
    return document
