"""Which options of `plms retrain` make no sense together?

The source let most of them pass: `--eval-checkpoint` beside a training evaluated another model than the one just trained, and a
trade column without trades was read by nobody. Each of these is one sentence that says which option is wrong and what helps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from plms_pipeline.errors import BadInput

# Option → what it needs besides, and why.
NEEDS: Final[Mapping[str, tuple[str, str]]] = {
    "reinforcement_config": ("run_reinforcement", "it names a challenger that is trained only then"),
}
# Two that contradict each other, and what helps.
EXCLUDES: Final = (
    ("strict_validation", "no_validation", "the one refuses what the other lets pass; keep one of them"),
)


def flag(name: str) -> str:
    """An option as it is typed."""
    return {"start_from": "--from", "as_json": "--json"}.get(name, f"--{name.replace('_', '-')}")


def refuse_nonsense(given: Mapping[str, Any]) -> None:
    """Refuse options that make no sense together.

    Args:
        given: what somebody gave, by the names of the options.

    Raises:
        BadInput: the first such pair (`option_needs`, `options_contradict`).
    """
    for name, (needed, why) in NEEDS.items():
        if name in given and needed not in given:
            raise BadInput(f"{flag(name)} needs {flag(needed)}: {why}. Add it.", code="option_needs")
    for one, other, why in EXCLUDES:
        if one in given and other in given:
            raise BadInput(f"{flag(one)} and {flag(other)} do not go together: {why}.", code="options_contradict")
