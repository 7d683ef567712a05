"""Options of `plms retrain` that make no sense together, each told by name with what helps."""

from __future__ import annotations

import pytest

from plms_pipeline.errors import BadInput
from plms_pipeline.models.training.flags import AGAIN, EXCLUDES, NEEDS, TRADE_COLUMNS, evaluates_again, refuse_nonsense

AN_EVALUATION = {"skip_training": True, "run_evaluation": True, "eval_checkpoint": "run-1"}


@pytest.mark.parametrize(
    "given",
    [
        {}, {"dataset": "p.csv", "symbol": "SPX"}, {"symbol": "SPX"}, {"run_evaluation": True, "trials": 3},
        AN_EVALUATION, {**AN_EVALUATION, "dataset": "p.csv", "symbol": "SPX", "strict_validation": True},
        {"eval_trades": "t.csv", "eval_capital_base": 1e6, **dict.fromkeys(TRADE_COLUMNS, "c")},
    ],
)  # fmt: skip
def test_what_fits_is_let_pass(given: dict[str, object]) -> None:
    refuse_nonsense(given)
    assert evaluates_again(given) == ("eval_trades" in given)


@pytest.mark.parametrize(("name", "needed"), [(name, needed) for name, needed, _ in NEEDS])
def test_what_needs_another_option_says_which(name: str, needed: str) -> None:
    """An option that nothing reads leaves somebody in the belief that it was heard."""
    given = {option: "x" for option, _, _ in NEEDS if option == name} | {
        other: "x" for option, other, _ in NEEDS if option == name and other != needed
    }
    with pytest.raises(BadInput, match=f"--{name.replace('_', '-')} needs --{needed.replace('_', '-')}") as refused:
        refuse_nonsense(given)
    assert refused.value.code == "option_needs"


@pytest.mark.parametrize(("one", "other"), [(one, other) for one, other, _ in EXCLUDES])
def test_two_that_contradict_each_other_are_both_named(one: str, other: str) -> None:
    given = {"run_reinforcement": True, "dataset": "p.csv", one: "x", other: "x"}
    if other == "skip_training":
        given |= AN_EVALUATION
    with pytest.raises(BadInput, match="do not go together") as refused:
        refuse_nonsense(given)
    assert refused.value.code == "options_contradict"


@pytest.mark.parametrize("name", ["symbol", "strict_validation", "no_validation"])
def test_words_about_prices_need_prices(name: str) -> None:
    """Without a training none are read, unless a file of them is named."""
    with pytest.raises(BadInput, match=f"--{name.replace('_', '-')} needs --dataset"):
        refuse_nonsense({**AN_EVALUATION, name: "x"})
    refuse_nonsense({**AN_EVALUATION, name: "x", "dataset": "p.csv"})


def test_there_is_one_device() -> None:
    with pytest.raises(BadInput, match=r"--eval-device cuda: .* cpu") as refused:
        refuse_nonsense({"eval_device": "cuda"})
    assert refused.value.code == "no_such_device"
    assert all(evaluates_again({name: "x"}) for name in AGAIN)
