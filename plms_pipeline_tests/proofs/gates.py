"""Do the gates of a model keep noise out, let a signal through, and name each mistake that looks like skill?

Everything goes through `retrain`, from a file of prices to the verdict, with the gates as they are shipped: N worlds without a
signal, of which the gates must block at least 95 in 100; N worlds with a planted one, of which as many must pass; and one world
for each mistake (price levels where returns should be, and the reverse; features that see the future; shuffled time), which
must be refused by the name of its check. Besides, whatever N is: drift sees a pure shift and a pure rescale, and two thousand
random books are cut to their limits without a false violation.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from plms_pipeline.clock import FrozenClock
from plms_pipeline.errors import PlmsError
from plms_pipeline.models.actions.evaluating import judged
from plms_pipeline.models.actions.request import Request
from plms_pipeline.models.actions.retraining import Retrained, retrain
from plms_pipeline.models.evaluation.drift import DriftThresholds, drift, profile_of
from plms_pipeline.models.evaluation.guardrails import guard
from plms_pipeline.models.market.bars import Bars, Floats
from plms_pipeline.models.market.files.keeping import write_prices
from plms_pipeline.models.market.generator import World, generate
from plms_pipeline.models.training.experiment import experiment
from plms_pipeline.models.training.features import FeatureFunction, backward_features
from plms_pipeline.models.training.fit import train
from plms_pipeline_tests.models.evaluation.books_at_random import random_book

COUNT: Final = 40
SHARE: Final = 0.95
NULL: Final = World(bars=3_000, signal_to_noise=0.0)
PLANTED: Final = World(bars=3_000, signal_to_noise=0.25)
LEAST_SKILL: Final = 0.09
BOOKS: Final = 2_000
CLOCK: Final = FrozenClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Trial:
    """One world: its seed, whether the gates let its candidate pass, which did not, and the skill out of sample."""

    seed: int
    passed: bool
    blocking: tuple[str, ...]
    skill: float


def trained(folder: Path, world: World, seed: int, function: FeatureFunction = backward_features) -> Retrained:
    """A candidate of a generated market, from its file on."""
    file = folder / f"market-{seed}.csv"
    write_prices(file, generate(world, seed).raw)
    return candidate(folder, file, function)


def candidate(folder: Path, file: Path, function: FeatureFunction = backward_features) -> Retrained:
    return retrain(
        Request(file, experiment({}), has_report=False),
        root=folder,
        clock=CLOCK,
        run_id=file.stem,
        code_version="proof",
        function=function,
    )


def trials(folder: Path, world: World, seeds: range) -> list[Trial]:
    found = []
    for seed in seeds:
        done = trained(folder, world, seed)
        skill = done.metrics["information_coefficient"]
        blocking = tuple(gate.name for gate in done.verdict.blocking)
        found.append(Trial(seed, done.verdict.passed, blocking, float(skill)))
    return found


def tomorrow(bars: Bars, rows: slice) -> Mapping[str, Floats]:
    """The honest features, and the return that they should predict."""
    log = np.log(bars.close[rows])
    return {**backward_features(bars, rows), "tomorrow": np.diff(log, append=log[-1:])}


def spoilt_file(folder: Path, name: str, spoil: Callable[[Floats, np.random.Generator], Floats], seed: int) -> Path:
    """A market whose four prices were replaced by what was made of its closes (symbols × bars)."""
    raw = generate(PLANTED, seed).raw
    close = spoil(raw.numbers["close"].reshape(PLANTED.symbols, -1), np.random.default_rng(seed)).ravel()
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    write_prices(folder / f"{name}.csv", replace(raw, numbers={**raw.numbers, **prices}))
    return folder / f"{name}.csv"


def earned_levels(seed: int) -> None:
    """Predictions whose realised returns are the price, as in the source."""
    asked = Request(Path("generated"), experiment({}))
    bars = generate(PLANTED, seed).bars()
    rows = train(bars, asked.experiment).predictions
    prices = pd.Series(bars.close, index=pd.MultiIndex.from_arrays([bars.codes, bars.timestamp]))
    levels = prices.loc[pd.MultiIndex.from_arrays([rows.codes, rows.window_end])].to_numpy()
    judged(replace(rows, realised_return=levels), asked, run_id="levels")


def mistakes(folder: Path, seed: int) -> dict[str, tuple[str, str | None]]:
    """What each mistake should be called, and the code with which it was refused; None when it was trained."""
    shuffled = spoilt_file(folder, "shuffled", lambda close, chance: chance.permuted(close, axis=1), seed)
    late = spoilt_file(
        folder,
        "late",
        lambda close, chance: np.hstack([close[:, :1_000], chance.permuted(close[:, 1_000:], axis=1)]),
        seed,
    )
    growth = spoilt_file(
        folder, "growth", lambda close, _: np.exp(np.diff(np.log(close), axis=1, prepend=np.log(close[:, :1]))), seed
    )
    attempts: dict[str, tuple[str, Callable[[], object]]] = {
        "prices that are growth factors": ("returns_as_prices", lambda: candidate(folder, growth)),
        "returns that are price levels": ("levels_as_returns", lambda: earned_levels(seed)),
        "a feature that sees tomorrow": ("look_ahead_features", lambda: trained(folder, NULL, seed, tomorrow)),
        "shuffled time": ("shuffled_time", lambda: candidate(folder, shuffled)),
        "time that is shuffled from some day on": ("shuffled_time", lambda: candidate(folder, late)),
    }
    return {name: (expected, code_of(attempt)) for name, (expected, attempt) in attempts.items()}


def code_of(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except PlmsError as error:
        return error.code
    return None


def unseen_drifts(seed: int) -> list[str]:
    """Changes of distribution that PSI or JS does not alert on, and alerts where nothing changed."""
    chance = np.random.default_rng(seed)
    before = profile_of(chance.normal(0.0, 0.01, 5_000))
    same = chance.normal(0.0, 0.01, 5_000)
    limits, wrong = DriftThresholds(), []
    for name, live in {"a pure shift": same + 0.02, "a pure rescale": same * 2.5, "nothing": same}.items():
        found = drift(before, live)
        seen = {
            "PSI": (found.population_stability_index or 0.0) > (limits.psi or 0.0),
            "JS": (found.js_divergence or 0.0) > (limits.js or 0.0),
        }
        wrong += [
            f"{name} {'is' if sees else 'is not'} seen by {by}"
            for by, sees in seen.items()
            if sees == (name == "nothing")
        ]
    return wrong


def false_violations(count: int, seed: int) -> int:
    """Of random books that were cut to their limits, how many still report one."""
    return sum(bool(guard(*random_book(number)).violations) for number in range(seed, seed + count))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def worlds_judged_wrongly(folder: Path, seeds: range) -> list[str]:
    """More than one in twenty that were noise and passed, or held a signal and were blocked."""
    noise, signal = trials(folder, NULL, seeds), trials(folder, PLANTED, seeds)
    passed, blocked = [one for one in noise if one.passed], [one for one in signal if not one.passed]
    skills = [one.skill for one in signal]
    say(f"no signal: {len(noise) - len(passed)} of {len(noise)} blocked; information coefficient "
        f"{spread([one.skill for one in noise])}")  # fmt: skip
    say(f"a signal: {len(signal) - len(blocked)} of {len(signal)} pass; information coefficient {spread(skills)}")
    wrong = []
    allowed = len(seeds) - int(np.ceil(SHARE * len(seeds)))
    if len(passed) > allowed:
        wrong += [f"noise passed: seed {one.seed}" for one in passed]
    if len(blocked) > allowed:
        wrong += [f"a signal was blocked: seed {one.seed}, {', '.join(one.blocking)}" for one in blocked]
    if float(np.median(skills)) < LEAST_SKILL:
        wrong.append(f"the planted signal is too weak to say anything: {spread(skills)}")
    return wrong


def prove(count: int, seed: int) -> int:
    """0 when every sentence holds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="plms-gates-") as place:
        folder = Path(place)
        wrong = worlds_judged_wrongly(folder, range(seed, seed + count))
        for name, (expected, code) in mistakes(folder, seed).items():
            say(f"{name}: {code or 'trained'}")
            wrong += [] if code == expected else [f"{name}: {code or 'trained'} instead of {expected}"]
    drifts = unseen_drifts(seed)
    say(f"drift: a pure shift, a pure rescale and no change, by PSI and JS: {len(drifts)} of 6 wrong")
    false = false_violations(BOOKS, seed)
    say(f"books: {false} of {BOOKS} that were cut to their limits report a violation")
    wrong += [*drifts, *([f"{false} false violations"] if false else [])]
    say(
        "\n".join(
            [*wrong, f"{'NOT PROVEN' if wrong else 'proven'}: {count} worlds of each kind, seed {seed}, "
             f"{time.monotonic() - began:.0f} s"]
        )
    )  # fmt: skip
    return 1 if wrong else 0


def spread(values: list[float]) -> str:
    return f"{min(values):.3f} … {float(np.median(values)):.3f} … {max(values):.3f}"


def main() -> int:
    """The command line: `python -m plms_pipeline_tests.proofs.gates --count 40 --seed 0`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=COUNT, help=f"worlds of each kind (default {COUNT})")
    parser.add_argument("--seed", type=int, default=0, help="of the first world (default 0)")
    given = parser.parse_args()
    return prove(given.count, given.seed)


if __name__ == "__main__":
    sys.exit(main())
