from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest

from plms_pipeline.estimates import columns, kernels, prototype
from plms_pipeline.estimates.columns import summarise
from plms_pipeline.estimates.kernels import centre_of, design_effect
from plms_pipeline.estimates.method import METHOD
from plms_pipeline.estimates.state import state_of


@pytest.mark.parametrize("module", [kernels, columns, prototype])
def test_a_kernel_calls_only_kernels_of_its_own_file(module: object) -> None:
    """numba's cache would keep a stale copy of another file's function after an upgrade, silently."""
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type] - parametrised over modules
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("plms_pipeline.estimates")
        for alias in node.names
    }
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list):
        names = {node.id for statement in function.body for node in ast.walk(statement) if isinstance(node, ast.Name)}
        assert not names & (imported - own), function.name


def test_the_dependence_of_an_autoregression_is_found() -> None:
    """How much a receipt counts is measured; if the measure were wrong, so would every interval of a new provider be."""
    rng = np.random.default_rng(2)
    cells = {}
    for p in range(10):
        x = np.zeros(4000)
        for i in range(1, x.size):
            x[i] = 0.5 * x[i - 1] + rng.standard_normal() * np.sqrt(0.75)
        cells[4200, f"p{p}"] = summarise(np.zeros(x.size, np.int32), 1, np.exp(x), "cost_usd", alpha=0.3)[0]
    effect = design_effect(state_of("cost_usd", cells).rows, METHOD)
    # ρ = 0.5 gives 3; the assumed 0.7 still weighs a little among 2 000 effective receipts.
    assert effect == pytest.approx(3.0, rel=0.15)


def test_the_centre_of_a_balanced_design_is_the_textbooks_best_linear_prediction() -> None:
    """One lane, equal evidence: the predicted mean must be the precision-weighted mean of population and own receipts."""
    rng = np.random.default_rng(5)
    method = METHOD._replace(dependence=0.0, dependence_strength=1e9, lane_spread=1e-9, cell_spread=1e-9)
    cells = {
        (4200, f"p{p}"): summarise(
            np.zeros(50, np.int32), 1, np.exp(p + 0.5 * rng.standard_normal(50)), "cost_usd", alpha=0.3, forgetting=1.0
        )[0]
        for p in range(4)
    }  # fmt: skip
    cells[4200, "z"] = summarise(np.zeros(1, np.int32), 1, np.exp(np.array([3.0])), "cost_usd", alpha=0.3)[0]
    state = state_of("cost_usd", cells)
    factory = 0.0
    found = centre_of(state.rows, 0, state.provider_code("z"), 1, 5, factory, method)
    means = np.array([cells[4200, f"p{p}"].log_mean for p in range(4)])
    share = 50 / 51
    weight = method.factory_providers + 4 * share
    population = (share * means.sum() + method.factory_providers * factory) / weight
    between = (method.provider_spread**2 + share * ((means - population) ** 2).sum()) / (1 + 4 * share)
    between *= 1 + 1 / weight
    own = 1 / found.spread
    assert found.mean == pytest.approx((population / between + 3.0 * own) / (1 / between + own), rel=1e-6)
    assert found.variance == pytest.approx(1 / (1 / between + own), rel=1e-6)
