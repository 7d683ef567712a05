"""Which options does `plms retrain` have?

Those of the source by their names, and ours. One frozen dataclass, whose fields are the options: sixty parameters would hide
what the command does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer

DATA, STAGES, LIMITS = "Data", "Stages", "Limits (an alert each, which blocks)"
AGAIN: Final = "Evaluating again (the new run, or with --skip-training one that is there)"


class WarmStart(StrEnum):
    """From whose weights a stage may start."""

    TRAINING = "training"
    PRETRAINING = "pretraining"
    NONE = "none"


def _of(panel: str, told: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=told, rich_help_panel=panel, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What somebody asked `plms retrain` for; None and False: nothing."""

    dataset: Annotated[
        Path | None, _of(DATA, "Prices: CSV, CSV.gz, Parquet, SQLite; default: what `plms import prices` imported.")
    ] = None
    symbol: Annotated[str | None, _of(DATA, "Of a file without a symbol column; default: from its name.")] = None
    strict_validation: Annotated[
        bool, _of(DATA, "Refuse data about which anything is found (exit 1).", "--strict-validation")
    ] = False
    no_validation: Annotated[
        bool,
        _of(DATA, "Train on suspicious data although the experiment is strict; impossible rows go.", "--no-validation"),
    ] = False
    regenerate_regimes: Annotated[
        bool,
        _of(DATA, "Label each bar's volatility, looking back only; the report tells by it.", "--regenerate-regimes"),
    ] = False

    train_config: Annotated[Path | None, _of(STAGES, "An experiment, YAML or JSON; default: ridge, walk-forward.")] = (
        None
    )
    start_from: Annotated[
        str | None,
        _of(
            STAGES,
            "champion, or a candidate's id: start from its experiment (--train-config then changes keys of it) and, where they "
            "fit, its weights.",
            "--from",
        ),
    ] = None
    pretrain_config: Annotated[
        Path | None, _of(STAGES, "Keys that differ: trained first, and the training starts from its weights.")
    ] = None
    skip_pretraining: Annotated[bool, _of(STAGES, "Leave --pretrain-config.", "--skip-pretraining")] = False
    run_reinforcement: Annotated[
        bool, _of(STAGES, "Train a challenger afterwards and compare; nothing is reinforced.", "--run-reinforcement")
    ] = False
    reinforcement_config: Annotated[
        Path | None, _of(STAGES, "Keys in which the challenger differs; default: the other kind of model.")
    ] = None
    warm_start: Annotated[
        WarmStart,
        _of(
            STAGES,
            "training: each stage starts from the weights of the one before it, the first from --from; pretraining: all from "
            "the pretraining; none: each cold.",
        ),
    ] = WarmStart.TRAINING
    output_dir: Annotated[
        Path | None, _of(STAGES, "Keep run and snapshot there and register nothing; default: the data directory.")
    ] = None
    trials: Annotated[
        int, _of(STAGES, "Raises the count of trials on these data, which the registry keeps.", min=1)
    ] = 1
    reason: Annotated[str | None, _of(STAGES, "Why; kept in the manifest.")] = None

    run_evaluation: Annotated[
        bool, _of(AGAIN, "A training is always evaluated; needed with --skip-training.", "--run-evaluation")
    ] = False
    skip_training: Annotated[
        bool, _of(AGAIN, "Train nothing: evaluate --eval-checkpoint again.", "--skip-training")
    ] = False
    eval_checkpoint: Annotated[
        str | None, _of(AGAIN, "A run's folder, its candidate.npz, a candidate's id, or champion.")
    ] = None
    eval_config: Annotated[
        Path | None, _of(AGAIN, "thresholds and guardrails in place of the experiment's, YAML or JSON.")
    ] = None
    eval_output: Annotated[
        Path | None, _of(AGAIN, "Folder of what comes out; default: evaluations/<UTC stamp> beside automation_runs.")
    ] = None
    eval_predictions: Annotated[
        Path | None, _of(AGAIN, "Its predictions; .csv, .json, .jsonl, else Parquet; default: predictions.parquet.")
    ] = None
    eval_metrics: Annotated[Path | None, _of(AGAIN, "Its metrics; default: metrics.json.")] = None
    eval_operations: Annotated[Path | None, _of(AGAIN, "Its summary; default: operations_summary.json.")] = None
    eval_return_col: Annotated[
        str | None, _of(AGAIN, "Column of returns of the predictions; default: realised_return.")
    ] = None
    eval_benchmark_col: Annotated[
        str | None, _of(AGAIN, "Column of what they are compared with; default: benchmark_return.")
    ] = None
    eval_device: Annotated[str, _of(AGAIN, "cpu; there is no other.")] = "cpu"
    eval_trades: Annotated[
        Path | None,
        _of(AGAIN, "Positions to hold against the limits: CSV, Parquet, JSON; default: the predictions' book."),
    ] = None
    eval_trade_timestamp_col: Annotated[str, _of(AGAIN, "Column of the trades.")] = "timestamp"
    eval_trade_symbol_col: Annotated[str, _of(AGAIN, "Column of the trades.")] = "symbol"
    eval_trade_notional_col: Annotated[str, _of(AGAIN, "Column of the trades.")] = "notional"
    eval_trade_position_col: Annotated[str, _of(AGAIN, "Column of the trades.")] = "position"
    eval_trade_price_col: Annotated[str, _of(AGAIN, "Column of the trades.")] = "price"
    eval_trade_return_col: Annotated[str, _of(AGAIN, "Column of the trades.")] = "pnl"
    eval_capital_base: Annotated[
        float | None, _of(AGAIN, "Money of which exposures of --eval-trades are multiples; default: the experiment's.")
    ] = None
    eval_tail_percentile: Annotated[
        float | None, _of(AGAIN, "Of the tail quantile, 0 to 100; default: the experiment's.")
    ] = None

    min_sharpe: Annotated[
        float | None, _of(LIMITS, "Below this Sharpe ratio (annualised).", "--min-sharpe", "--eval-min-sharpe")
    ] = None
    max_drawdown: Annotated[
        float | None,
        _of(LIMITS, "Beyond this drawdown, a positive fraction.", "--max-drawdown", "--eval-max-drawdown"),
    ] = None
    max_gross_exposure: Annotated[
        float | None,
        _of(LIMITS, "Beyond this exposure, in capital.", "--max-gross-exposure", "--eval-max-gross-exposure"),
    ] = None
    max_turnover: Annotated[
        float | None,
        _of(LIMITS, "Beyond this turnover, in capital per moment.", "--max-turnover", "--eval-max-turnover"),
    ] = None
    min_tail_return: Annotated[
        float | None,
        _of(LIMITS, "A tail quantile below this, in money.", "--min-tail-return", "--eval-min-tail-return"),
    ] = None
    max_tail_frequency: Annotated[
        float | None,
        _of(
            LIMITS, "Beyond this share of moments below --min-tail-return, which it needs.", "--max-tail-frequency",
            "--eval-max-tail-frequency",
        ),
    ] = None  # fmt: skip
    max_symbol_exposure: Annotated[
        float | None,
        _of(LIMITS, "Beyond this exposure to a symbol.", "--max-symbol-exposure", "--eval-max-symbol-exposure"),
    ] = None

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read, check and say what would run; write nothing.")] = (
        False
    )
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False

    @property
    def given(self) -> dict[str, Any]:
        """What differs from nothing, by the names of the fields."""
        return {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}

    def limits(self) -> dict[str, float | None]:
        """The limits by their names."""
        return {name: getattr(self, name) for name in LIMIT_NAMES}


LIMIT_NAMES: Final = (
    "min_sharpe", "max_drawdown", "max_gross_exposure", "max_turnover", "min_tail_return", "max_tail_frequency",
    "max_symbol_exposure",
)  # fmt: skip


def with_options(command: Callable[[Options], None]) -> Callable[..., None]:
    """The command with the fields of `Options` as its parameters, as Typer reads them."""

    def called(**given: Any) -> None:
        command(Options(**given))

    hints = get_type_hints(Options, include_extras=True)
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__annotations__ = {one.name: hints[one.name] for one in fields(Options)} | {"return": None}
    called.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # read by inspect
        [
            inspect.Parameter(
                one.name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[one.name],
                default=inspect.Parameter.empty if one.default is MISSING else one.default,
            )
            for one in fields(Options)
        ]
    )  # fmt: skip
    return called
