"""Does what comes together go together, and does nobody wait for company or for ever?"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from plms_pipeline.errors import Conflict
from plms_pipeline.registry.engine import Busy
from plms_pipeline.runs.service.gathering import Gathering


class Groups:
    """Works groups of numbers: a negative one is refused. Says which groups there were, and whether they might wait."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[int], bool]] = []
        self.busy = 0
        self.let_go = threading.Event()
        self.let_go.set()

    def __call__(self, wanted: Sequence[int], at_once: bool) -> list[str | Exception]:
        if at_once and self.busy:
            self.busy -= 1
            raise Busy
        self.let_go.wait(5)
        self.seen.append((list(wanted), at_once))
        if 0 in wanted:
            raise OSError("no disk")
        return [Conflict("no", code="no") if number < 0 else str(number) for number in wanted]


async def all_of(gathering: Gathering[int, str], *numbers: int) -> list[str | BaseException]:
    return await asyncio.gather(*(gathering.answer(number) for number in numbers), return_exceptions=True)


def test_what_is_heard_in_one_turn_goes_together_and_no_more_than_the_bound() -> None:
    """Fifty starts of one turn, one by one, are fifty waits for the disk; all at once, nobody else is answered meanwhile."""
    groups = Groups()
    answers = asyncio.run(all_of(Gathering(groups, most=3), 1, 2, 3, 4, 5, 6, 7))
    assert answers == ["1", "2", "3", "4", "5", "6", "7"]
    assert groups.seen == [([1, 2, 3], True), ([4, 5, 6], True), ([7], True)]


def test_who_comes_alone_goes_at_once() -> None:
    """A start that waits for company is slower than one that was never grouped."""
    groups = Groups()
    gathering = Gathering(groups)

    async def one_after_the_other() -> list[str]:
        return [await gathering.answer(number) for number in (1, 2)]

    assert asyncio.run(one_after_the_other()) == ["1", "2"]
    assert groups.seen == [([1], True), ([2], True)]


def test_one_that_is_refused_harms_no_other() -> None:
    """A stranger's bad request must not fail whoever happens to come with him."""
    first, refused, last = asyncio.run(all_of(Gathering(Groups()), 1, -1, 2))
    assert (first, last) == ("1", "2")
    assert isinstance(refused, Conflict)


def test_a_group_that_fails_tells_everybody_and_the_next_one_goes() -> None:
    """A full disk must not leave anybody waiting, nor stop the starts that come when there is room again."""
    groups = Groups()
    gathering = Gathering(groups)

    async def scenario() -> None:
        assert all(isinstance(answer, OSError) for answer in await all_of(gathering, 1, 0, 2))
        assert await all_of(gathering, 3) == ["3"]

    asyncio.run(scenario())


def test_behind_another_writer_a_thread_waits_and_who_comes_meanwhile_gathers() -> None:
    """The event loop must answer others while somebody imports a file, and go on in order afterwards."""
    groups = Groups()
    groups.busy = 1
    groups.let_go.clear()
    gathering = Gathering(groups)

    async def scenario() -> None:
        first = asyncio.create_task(all_of(gathering, 1, 2))
        await asyncio.sleep(0.05)
        later = asyncio.create_task(all_of(gathering, 3, 4))
        await asyncio.sleep(0.05)
        assert not groups.seen
        groups.let_go.set()
        assert (await first, await later) == (["1", "2"], ["3", "4"])

    asyncio.run(scenario())
    assert groups.seen == [([1, 2], False), ([3, 4], True)]


@pytest.mark.parametrize("busy", [0, 1])
def test_whoever_has_gone_is_not_told_and_the_others_are(busy: int) -> None:
    """A client that hangs up must not take the answers of its group along."""
    groups = Groups()
    groups.busy = busy
    gathering = Gathering(groups)

    async def scenario() -> str:
        gone = asyncio.create_task(gathering.answer(1))
        stays = asyncio.create_task(gathering.answer(2))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(scenario()) == "2"
