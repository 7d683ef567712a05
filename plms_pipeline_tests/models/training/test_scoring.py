from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plms_pipeline.errors import BadInput, NoData
from plms_pipeline.models.market.bars import canonical
from plms_pipeline.models.training.scoring import score
from plms_pipeline_tests.models.worlds import small_bars, small_training


def test_serving_says_what_the_evaluation_judged() -> None:
    """Training and serving that compute features twice drift apart, and nobody notices until the money is gone."""
    fold, judged = small_training().folds[-1], small_training().predictions
    mine = judged.split == fold.split.number
    served = score(fold.model, small_bars(), k=5.0, last=None)
    keys = dict(zip(zip(served.symbols, served.window_end.tolist(), strict=True), served.score, strict=True))
    names = np.array(judged.symbols, dtype=object)[judged.codes]
    again = [keys[key] for key in zip(names[mine].tolist(), judged.window_end[mine].tolist(), strict=True)]
    assert again == judged.score[mine].tolist()


def test_the_newest_bar_of_each_symbol_is_scored() -> None:
    """The bar whose future is unknown is the only one that anybody wants a prediction for."""
    bars = small_bars()
    served = score(small_training().candidate, bars, k=5.0)
    assert served.symbols == bars.symbols
    assert (served.window_end == bars.timestamp.max()).all()
    assert served.position == pytest.approx(np.tanh(5.0 * served.score))
    assert served.predicted_return == pytest.approx(served.score * served.volatility)


def test_bars_without_a_signal_of_the_model_are_refused() -> None:
    """A missing signal that is fed as zero is an opinion that nobody has."""
    with pytest.raises(BadInput, match="trained on extra_alt"):
        score(small_training().candidate, replace(small_bars(), extras={}), k=5.0)
    with pytest.raises(BadInput, match="at least one bar"):
        score(small_training().candidate, small_bars(), k=5.0, last=0)


def test_too_short_a_history_cannot_be_scored() -> None:
    """`/predict` with ten rows must say what it needs."""
    few = canonical(small_bars().raw().take(np.arange(50)))
    with pytest.raises(NoData, match="more than 100 bars"):
        score(small_training().candidate, few, k=5.0)
