"""Books of any size with limits of which most are broken: what is cut to them must keep them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from plms_pipeline.models.evaluation.guardrails import GuardrailConfig


def random_book(seed: int) -> tuple[pd.DataFrame, GuardrailConfig]:
    """Any book, and limits of which most are broken."""
    chance = np.random.default_rng(seed)
    size = int(chance.integers(1, 40))
    frame = pd.DataFrame(
        {
            "timestamp": chance.integers(0, 6, size),
            "symbol": chance.choice(list("ABCDE"), size),
            "sector": chance.choice(["tech", "energy"], size),
            "factor": chance.choice(["value", "growth"], size),
            "position": chance.normal(0, 10.0 ** chance.integers(-2, 4), size),
            "price": chance.uniform(0.1, 500, size),
            "pnl": chance.normal(0, 10, size),
        }
    )
    frame["notional"] = frame["position"] * frame["price"]
    cap = float(chance.uniform(0.01, 1000))
    config = GuardrailConfig(
        enabled=True,
        capital_base=cap,
        max_gross_exposure=float(chance.uniform(0, 2)),
        max_net_exposure=float(chance.uniform(0, 1)),
        max_turnover=float(chance.uniform(0, 1)),
        min_tail_return=-float(chance.uniform(0.001, 5)),
        max_symbol_exposure=float(chance.uniform(0, 1)),
        sector_caps={"tech": float(chance.uniform(0, 1))},
        factor_caps={"value": float(chance.uniform(0, 1)), "none": 0.1},
    )
    return frame, config
