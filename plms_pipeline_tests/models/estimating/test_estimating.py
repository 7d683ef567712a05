from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from plms_pipeline.errors import BadInput, Conflict, NoData
from plms_pipeline.models.estimating.effects import COMPONENTS, Scatter, explain, levels_of
from plms_pipeline.models.estimating.experiment import EstimatesExperiment
from plms_pipeline.models.estimating.files import load_estimates, model_bytes
from plms_pipeline.models.estimating.forecasting import Task, forecast, prior_quantiles, quantiles
from plms_pipeline.models.estimating.history import History
from plms_pipeline.models.estimating.judging import Limits, blocking, judge, ratio_interval
from plms_pipeline.models.estimating.model import EstimatesModel, Part, Trust, untrusting
from plms_pipeline.models.estimating.stored import model_of, parts
from plms_pipeline.models.estimating.walkforward import Forecasts, Plan, walk_forward
from plms_pipeline_tests.models.estimating.shipped import world

FULL = Part("cost_usd", Scatter(), {"effort": Trust(1.0), "spend": Trust(1.0, by_slope=True)})


def _posterior(history: History, scatter: Scatter, row: int) -> float:
    """The effect of a row's task by the textbook: the posterior mean of all effects at once, solved as linear equations."""
    levels = levels_of(history)
    design = np.zeros((len(history), levels.component.size))
    for at, numbers in enumerate(levels.numbers):
        for number in numbers[numbers >= 0]:
            design[at, number] += 1
    seen = [at for at in range(row) if history.completed_ms[at] <= history.started_ms[row]]
    x, y = design[seen], np.log(history.value[seen]) - np.log(0.18)
    variances = np.asarray(scatter.variances)[levels.component]
    mean = np.linalg.solve(x.T @ x / scatter.noise + np.diag(1 / variances), x.T @ y / scatter.noise)
    told = [place for place, name in enumerate(COMPONENTS) if name not in ("overall", "provider", "lane")]
    return float(sum(mean[levels.numbers[row, place]] for place in told if levels.numbers[row, place] >= 0))


def test_effects_are_those_of_the_textbook_when_scatter_is_even(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that is not the posterior would still look like learning."""
    rng = np.random.default_rng(3)
    history = world(60)
    history = replace(history, value=np.exp(0.1 * rng.standard_normal(60)) * history.value)
    even = Scatter(noise=1e6)  # own misses never matter, and nothing lies beyond the clip
    found = explain(history, even).effect
    kept = [0, 5, 20, 41, 59]
    # Each provider's own scatter moves the noise by less than the tolerance at this size.
    expected = [_posterior(history, even, row) for row in kept]
    np.testing.assert_allclose(found[kept], expected, atol=2e-5)


@pytest.mark.live
def test_what_comes_later_changes_no_earlier_forecast() -> None:
    """Look-ahead is the classic way to a proof that cannot be repeated in service."""
    history = world(260)
    rng = np.random.default_rng(1)
    cut = 200
    shuffled = history.value.copy()
    shuffled[cut:] = rng.permutation(shuffled[cut:]) * 50.0
    tasks, providers = history.task.copy(), history.provider.copy()
    tasks[cut:], providers[cut:] = rng.permutation(tasks[cut:]), "somebody new"
    changed = replace(history, value=shuffled, task=tasks, provider=providers)
    one, other = (walk_forward(each, Plan(blocks=2)) for each in (history, changed))
    early = history.started_ms < history.completed_ms[cut]
    for basis in ("effort", "spend"):
        rows = one.forecasts[basis].history.completed_ms < history.completed_ms[cut]
        rows &= np.isin(one.forecasts[basis].history.completed_ms, history.completed_ms[:cut][early[:cut]])
        same = np.isin(other.forecasts[basis].history.completed_ms, one.forecasts[basis].history.completed_ms[rows])
        assert rows.sum() > 20
        np.testing.assert_allclose(
            one.forecasts[basis].quantiles[rows], other.forecasts[basis].quantiles[same], rtol=1e-12
        )


def test_a_model_that_trusts_nobody_is_the_prior() -> None:
    """The fallback must be exactly what was there before."""
    history = world(120)
    explained = explain(history, Scatter())
    np.testing.assert_allclose(
        quantiles(history, "spend", explained, Trust()), prior_quantiles(history, "spend"), rtol=1e-12
    )


@pytest.mark.live
def test_tasks_that_differ_are_found_and_tasks_that_do_not_change_little() -> None:
    """With effects the model is much better than the priors; without it must not be worse by more than noise."""
    ratios = []
    for spread in (1.5, 0.0):
        found = walk_forward(world(600, task_spread=spread), Plan(blocks=2)).forecasts["spend"]
        ratios.append(judge(found, Limits(rows=100)).figures["winkler_ratio"])
    assert ratios[0] < 0.6
    assert ratios[1] < 1.05


def test_the_forecast_of_a_task_is_what_the_backtest_said_of_it() -> None:
    """What is judged must be what is served: the newest row asked as a task that begins now."""
    history = world(150)
    last = int(np.argmax(history.started_ms))
    known = history.part(history.completed_ms <= history.started_ms[last])
    at = datetime.fromtimestamp(int(history.started_ms[last]) / 1000, UTC)
    asked = Task(4200, str(history.provider[last]), str(history.task[last]), "k")
    found = forecast(known, "spend", FULL, asked, at=at)
    row = quantiles(history, "spend", explain(history, FULL.scatter), FULL.trust["spend"])[last]
    np.testing.assert_allclose(found.quantiles, row, rtol=1e-9)


def test_a_stored_model_comes_back_and_one_changed_byte_is_refused(tmp_path: Path) -> None:
    import hashlib

    model = EstimatesModel({"cost_usd": FULL}, frozenset({("cost_usd", "spend")}))
    content = model_bytes(model)
    path = tmp_path / "candidate.npz"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    back = load_estimates(path, digest)
    assert back == model
    assert back.may_serve("cost_usd", "spend")
    assert not back.may_serve("cost_usd", "effort")
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(Conflict, match="not the model"):
        load_estimates(path, digest)


@pytest.mark.parametrize("broken", ["noise", "variances", "share", "serves", "measure"])
def test_an_impossible_model_is_refused(broken: str) -> None:
    """Its digest may be right and its numbers nonsense."""
    document, arrays = parts(EstimatesModel({"cost_usd": FULL}))
    if broken == "noise":
        document["parts"]["cost_usd"]["noise"] = -1.0
    elif broken == "variances":
        arrays["variances.cost_usd"] = arrays["variances.cost_usd"][:-1]
    elif broken == "share":
        document["parts"]["cost_usd"]["trust"]["spend"]["share"] = 7.0
    elif broken == "serves":
        document["serves"] = [["tokens", "spend"]]
    else:
        document["parts"]["luck"] = document["parts"]["cost_usd"]
    with pytest.raises(BadInput, match="cannot be used"):
        model_of(document, arrays)


def test_too_few_receipts_train_nothing() -> None:
    with pytest.raises(NoData, match="needs 200"):
        walk_forward(world(199), Plan())


def test_an_experiment_names_measures_that_exist_and_each_once() -> None:
    with pytest.raises(BadInput, match="each once"):
        EstimatesExperiment(measures=("cost_usd", "cost_usd"))
    with pytest.raises(BadInput, match="taught_first"):
        EstimatesExperiment(plan=Plan(taught_first=0.99))
    assert EstimatesExperiment().digest() != EstimatesExperiment(plan=Plan(blocks=5)).digest()


def test_the_interval_of_a_ratio_holds_it_and_narrows_with_rows() -> None:
    rng = np.random.default_rng(2)
    theirs = rng.exponential(size=4000)
    ours = 0.8 * rng.exponential(size=4000)
    wide, narrow = (ratio_interval(ours[:n], theirs[:n]) for n in (400, 4000))
    assert narrow[0] < 0.8 < narrow[1]
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
    same = ratio_interval(theirs, theirs)
    assert same == (1.0, 1.0)


def test_a_part_that_is_the_prior_passes_nowhere_and_blocks_the_candidate() -> None:
    """Noise must not be promoted: a copy of the priors is no tenth better than they."""
    history = world(300)
    mine = prior_quantiles(history, "spend")
    judged = judge(Forecasts("spend", history, mine, mine), Limits(rows=100))
    failed = {one.name for one in judged.conditions if not one.passed}
    assert {"winkler_beats_the_priors", "gain_is_more_than_luck"} <= failed
    assert blocking([judged])[0] == "beats_the_priors_somewhere"
    assert untrusting("cost_usd").trust["spend"].share == 0.0
