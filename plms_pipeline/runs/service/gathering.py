"""What came while the last one was being written?

An event loop hears of many requests at once and answers them one by one. What each of them has written waits here until all
that came in the same turn have got as far; then they go together, and while a group is under way the next one gathers. Who
comes alone goes at once: nothing waits for company.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from plms_pipeline.registry.engine import Busy

W = TypeVar("W")
A = TypeVar("A")
# While a group is worked nobody else is answered: so many starts take some 15 ms.
MOST = 16
# (what is wanted, whether it must not wait) → for each the answer, or the exception that it ends in
Together = Callable[[Sequence[W], bool], Sequence[A | Exception]]


class Gathering(Generic[W, A]):
    """Gathers what is wanted into groups; belongs to one event loop.

    Args:
        together: works a group; raises `Busy` when it must not wait and would have to. What else it raises is the answer
            to everybody in the group.
        most: how many a group holds.
    """

    def __init__(self, together: Together[W, A], *, most: int = MOST) -> None:
        self._together, self._most = together, most
        self._waiting: deque[tuple[W, asyncio.Future[A]]] = deque()
        self._is_under_way = False
        self._kept: set[asyncio.Task[None]] = set()

    async def answer(self, wanted: W) -> A:
        """The answer to what is wanted, once its group is through.

        Raises:
            Exception: whatever it ends in.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        self._waiting.append((wanted, answer))
        if not self._is_under_way:
            self._is_under_way = True
            # Behind everybody whose request was heard in this turn.
            loop.call_soon(self._next, loop)
        return await answer

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        group = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            outcomes = self._worked(group, at_once=True)
        except Busy:
            # Somebody else writes: a thread waits for him, the event loop does not, and who comes meanwhile waits here.
            task = loop.create_task(self._later(group, loop))
            self._kept.add(task)
            task.add_done_callback(self._kept.discard)
            return
        self._tell(group, outcomes, loop)

    async def _later(self, group: list[tuple[W, asyncio.Future[A]]], loop: asyncio.AbstractEventLoop) -> None:
        outcomes: Sequence[A | Exception]
        try:
            outcomes = await asyncio.to_thread(self._worked, group, at_once=False)
        except RuntimeError as error:  # no thread any more: the process ends
            outcomes = [error] * len(group)
        self._tell(group, outcomes, loop)

    def _worked(self, group: list[tuple[W, Any]], *, at_once: bool) -> Sequence[A | Exception]:
        try:
            return self._together([wanted for wanted, _ in group], at_once)
        except Busy:
            if at_once:
                raise
            raise RuntimeError("busy although it may wait") from None
        except Exception as error:  # noqa: BLE001 - it is raised again, once for each who waits for it
            return [error] * len(group)

    def _tell(
        self,
        group: list[tuple[W, asyncio.Future[A]]],
        outcomes: Sequence[A | Exception],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        for (_, answer), outcome in zip(group, outcomes, strict=True):
            if answer.done():
                continue  # Whoever asked has gone; what was written stays.
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)
        self._is_under_way = bool(self._waiting)
        if self._is_under_way:
            loop.call_soon(self._next, loop)
