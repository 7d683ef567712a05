"""Which champion does a rollback bring back?

The one before in the sense of a person: whoever rolls back twice goes back two steps, not to the model that was just taken
down. So the history is read as a stack: a promotion lays on, a rollback takes off down to what it restored.
"""

from __future__ import annotations

from collections.abc import Iterable

from plms_pipeline.models.records import Champion


def stack(history: Iterable[Champion]) -> list[Champion]:
    """What lies below the present champion, which is the last.

    Args:
        history: all promotions and rollbacks of a family, in any order.
    """
    layers: list[Champion] = []
    for one in sorted(history, key=lambda champion: champion.sequence):
        if one.kind == "rollback":
            places = [place for place, layer in enumerate(layers) if layer.candidate_id == one.candidate_id]
            del layers[places[-1] if places else len(layers) :]
        layers.append(one)
    return layers


def before(history: Iterable[Champion]) -> Champion | None:
    """The champion that a rollback restores; None when there is none below the present one."""
    layers = stack(history)
    present = layers[-1].candidate_id if layers else None
    return next((layer for layer in reversed(layers[:-1]) if layer.candidate_id != present), None)
