"""Small generated markets that several tests look at and none changes."""

from __future__ import annotations

from functools import cache

from plms_pipeline.models.market.bars import Bars
from plms_pipeline.models.market.generator import Market, World, generate
from plms_pipeline.models.training.experiment import Experiment, experiment
from plms_pipeline.models.training.fit import Training, train


@cache
def market(symbols: int = 3, bars: int = 400, snr: float = 0.2, seed: int = 7, *, alt: bool = True) -> Market:
    return generate(World(symbols=symbols, bars=bars, signal_to_noise=snr, has_alt=alt), seed)


@cache
def small_bars(symbols: int = 3, bars: int = 400) -> Bars:
    return market(symbols, bars).bars()


def small_experiment(**sections: object) -> Experiment:
    return experiment({"walk_forward": {"train": 150, "test": 40}, **sections})


@cache
def small_training() -> Training:
    return train(small_bars(), small_experiment())
