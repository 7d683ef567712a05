"""Which options of `plms retrain` make no sense together?

The source let most of them pass: `--eval-checkpoint` beside a training evaluated another model than the one just trained, and a
trade column without trades was read by nobody. Each of these is one sentence that says which option is wrong and what helps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from plms_pipeline.errors import BadInput

TRADE_COLUMNS: Final = tuple(
    f"eval_trade_{name}_col" for name in ("timestamp", "symbol", "notional", "position", "price", "return")
)
# Whoever gives one of these wants what a training evaluates to be evaluated once more, elsewhere.
AGAIN: Final = (
    "eval_config", "eval_output", "eval_predictions", "eval_metrics", "eval_operations", "eval_return_col",
    "eval_benchmark_col", "eval_trades", "eval_tail_percentile",
)  # fmt: skip
_NO_TRADES: Final = "it says how trades are read, and there are none"
# Option, what it needs besides, and why.
NEEDS: Final = (
    ("reinforcement_config", "run_reinforcement", "it names a challenger that is trained only then"),
    ("skip_training", "run_evaluation", "nothing would run; a pretraining alone is a training of its own"),
    ("skip_training", "eval_checkpoint", "there is nothing to evaluate but a run that is there"),
    ("eval_checkpoint", "skip_training", "what was just trained is what is evaluated"),
    *((name, "eval_trades", _NO_TRADES) for name in TRADE_COLUMNS),
    ("eval_capital_base", "eval_trades", "the book of predictions is of a capital of one"),
)
_NOT_AGAIN: Final = "nothing is trained, and the run keeps what it was trained with; leave it out"
# Two that contradict each other, and what helps.
EXCLUDES: Final = (
    ("strict_validation", "no_validation", "the one refuses what the other lets pass; keep one of them"),
    *(
        (name, "skip_training", _NOT_AGAIN)
        for name in (
            "train_config", "start_from", "output_dir", "pretrain_config", "run_reinforcement", "reinforcement_config",
            "warm_start", "regenerate_regimes", "trials", "reason",
        )
    ),
)  # fmt: skip
_OF_PRICES: Final = ("symbol", "strict_validation", "no_validation")


def flag(name: str) -> str:
    """An option as it is typed."""
    return {"start_from": "--from", "as_json": "--json"}.get(name, f"--{name.replace('_', '-')}")


def refuse_nonsense(given: Mapping[str, Any]) -> None:
    """Refuse options that make no sense together.

    Args:
        given: what somebody gave that is not the default, by the names of the options.

    Raises:
        BadInput: the first that is wrong (`option_needs`, `options_contradict`, `no_such_device`).
    """
    for name, needed, why in NEEDS:
        if name in given and needed not in given:
            raise BadInput(f"{flag(name)} needs {flag(needed)}: {why}. Add it.", code="option_needs")
    for one, other, why in EXCLUDES:
        if one in given and other in given:
            raise BadInput(f"{flag(one)} and {flag(other)} do not go together: {why}.", code="options_contradict")
    for name in _OF_PRICES:
        if name in given and "skip_training" in given and "dataset" not in given:
            raise BadInput(
                f"{flag(name)} needs --dataset: without it no prices are read, but what the run predicted. Add it.",
                code="option_needs",
            )
    if "eval_device" in given:
        raise BadInput(
            f"--eval-device {str(given['eval_device'])[:40]}: these models run on the cpu, and on nothing else; leave it out.",
            code="no_such_device",
        )


def evaluates_again(given: Mapping[str, Any]) -> bool:
    """Whether a training is to be evaluated once more, beside the evaluation that people sign."""
    return any(name in given for name in AGAIN)
