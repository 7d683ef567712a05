"""In which order can tasks be done, and if in none, which of them wait for each other?"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence


def topological(depends_on: Mapping[str, Sequence[str]]) -> list[str]:
    """Every key after all that it depends on; otherwise in the given order. Keys on or behind a cycle are left out.

    Args:
        depends_on: key → the keys it waits for; all of them are keys.
    """
    waiting = {key: len(set(needs)) for key, needs in depends_on.items()}
    followers: dict[str, list[str]] = {key: [] for key in depends_on}
    for key, needs in depends_on.items():
        for need in sorted(set(needs)):
            followers[need].append(key)
    place = {key: number for number, key in enumerate(depends_on)}
    ready = deque(key for key, count in waiting.items() if count == 0)
    ordered = []
    while ready:
        key = ready.popleft()
        ordered.append(key)
        freed = []
        for follower in followers[key]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                freed.append(follower)
        ready.extend(sorted(freed, key=place.__getitem__))
    return ordered


def cycle(depends_on: Mapping[str, Sequence[str]]) -> list[str] | None:
    """One cycle, its first key again at the end (`a`, `b`, `a`: a waits for b, b for a), or None when there is none."""
    stuck = set(depends_on) - set(topological(depends_on))
    if not stuck:
        return None
    # Whoever is stuck waits for somebody who is stuck too, so following them must come back.
    key = next(key for key in depends_on if key in stuck)
    path: list[str] = []
    seen: dict[str, int] = {}
    while key not in seen:
        seen[key] = len(path)
        path.append(key)
        key = next(need for need in depends_on[key] if need in stuck)
    return [*path[seen[key] :], key]
