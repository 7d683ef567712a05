"""Do the decision tree and the escalation matrix say what the playbook says?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plms_pipeline.models.decision import matrix
from plms_pipeline.models.decision.matrix import escalation_of, is_anomaly, owners
from plms_pipeline.models.decision.tree import hard_gates, path_of, recommend, watch
from plms_pipeline.models.evaluation.drift import _RULES as DRIFT_RULES
from plms_pipeline.models.evaluation.live import _LIVE as LIVE_RULES
from plms_pipeline.models.evaluation.thresholds import RULES

NOISE = "sharpe_after_costs_is_more_than_noise"
LEAK = "information_coefficient_is_believable"
CODES = [rule.code for rule in (*RULES, *DRIFT_RULES, *LIVE_RULES)]
LIMITS = st.sampled_from([rule.code for rule in RULES])


@pytest.mark.parametrize(
    ("alerts", "blocking", "data_ok", "action"),
    [
        ((), (), True, "promote"),
        (("sharpe_below_minimum",), ("limit:sharpe_below_minimum",), True, "risk_review"),
        (("gross_exposure_above_limit",), ("limit:gross_exposure_above_limit",), True, "risk_review"),
        ((), (NOISE,), True, "risk_review"),
        ((), (), False, "halt"),
        (("sharpe_below_minimum",), ("limit:sharpe_below_minimum", NOISE), False, "halt"),
        ((), (LEAK,), True, "halt"),
        (("turnover_rate_unknown",), ("limit:turnover_rate_unknown",), True, "halt"),
        # A limit that only the gates repeat counts all the same.
        ((), ("limit:drawdown_above_limit",), True, "risk_review"),
    ],
)
def test_the_tree_recommends_by_what_is_worst(
    alerts: tuple[str, ...], blocking: tuple[str, ...], *, data_ok: bool, action: str
) -> None:
    """The playbook's three branches; an anomaly of the data wins over everything."""
    found = recommend(alerts=alerts, blocking=blocking, data_ok=data_ok)
    assert found.action == action
    assert "risk_lead" in found.owners
    assert ("approve" in found.options) == (action == "promote")


@pytest.mark.parametrize(
    ("code", "owner"),
    [
        ("drawdown_above_limit", "risk_lead"),
        ("sharpe_below_minimum", "risk_lead"),
        ("gross_exposure_above_limit", "risk_lead"),
        ("psi_above_limit", "data_engineering"),
        ("js_above_limit", "data_engineering"),
        ("ks_above_limit", "data_engineering"),
        ("guardrail_violations_above_share", "trading_supervision"),
        ("annotations_reject", "portfolio_manager"),
        ("data_not_valid", "data_engineering"),
        ("sharpe_unknown", "data_engineering"),
        ("something_new", "risk_lead"),
    ],
)
def test_each_alert_has_an_owner(code: str, owner: str) -> None:
    """An alert without an owner is one that everybody leaves to the others."""
    assert escalation_of(code).owner == owner
    assert owner in owners([code])


@pytest.mark.parametrize("code", CODES)
def test_every_alert_that_exists_stands_in_the_matrix(code: str) -> None:
    """A new limit whose owner nobody named would go to whoever is the default."""
    assert code in matrix._BY_CODE


def test_what_is_noise_cannot_be_approved_with_caps() -> None:
    """Half a position in a model that knows nothing still loses its costs."""
    assert "approve_with_caps" not in recommend(alerts=(), blocking=(NOISE,)).options
    assert hard_gates([NOISE, "limit:turnover_above_limit", "limit:turnover_rate_unknown"]) == (
        NOISE,
        "limit:turnover_rate_unknown",
    )


@given(st.lists(LIMITS), st.sampled_from([(), (NOISE,), (NOISE, LEAK)]), st.booleans())
def test_caps_are_spoken_of_only_where_they_can_be_decided(
    alerts: list[str], blocking: tuple[str, ...], data_ok: bool
) -> None:
    """`plms model show` recommended reduced caps for what no caps can bring live."""
    said = recommend(alerts=alerts, blocking=blocking, data_ok=data_ok)
    words = " ".join((said.sentence, *(line.todo for line in said.escalations)))
    if "approve_with_caps" not in said.options:
        assert "with reduced caps" not in words
    elif alerts:
        assert "with reduced caps" in words


@pytest.mark.parametrize(
    ("alerts", "data_ok", "action"),
    [
        ((), True, "keep"),
        (("drawdown_above_limit",), True, "request_retrain"),
        (("psi_above_limit",), True, "request_retrain"),
        (("sharpe_unknown",), True, "halt"),
        (("drawdown_above_limit",), False, "halt"),
    ],
)
def test_a_champion_that_is_watched(alerts: tuple[str, ...], *, data_ok: bool, action: str) -> None:
    """Drift asks for a new model; a feed that cannot be trusted must not make one."""
    assert watch(alerts=alerts, data_ok=data_ok).action == action


@given(st.lists(LIMITS), st.lists(st.sampled_from([NOISE, LEAK, "limit:turnover_above_limit"])), st.booleans())
def test_more_alerts_never_make_it_safer(alerts: list[str], blocking: list[str], data_ok: bool) -> None:
    """A tree in which a further alert opens the way to production has a branch that is wrong."""
    severity = ["promote", "risk_review", "halt"]
    one = severity.index(recommend(alerts=alerts, blocking=blocking, data_ok=data_ok).action)
    for more in ("sharpe_below_minimum", "sharpe_unknown"):
        assert severity.index(recommend(alerts=[*alerts, more], blocking=blocking, data_ok=data_ok).action) >= one
    assert recommend(alerts=alerts, blocking=blocking, data_ok=False).action == "halt"


def test_the_path_ends_with_who_signs() -> None:
    """Deployment only after the risk lead has signed."""
    path = path_of(["psi_above_limit", "psi_above_limit", "sharpe_below_minimum"])
    assert path == ("data_engineering: psi_above_limit", "risk_lead: sharpe_below_minimum", "risk_lead: sign-off")
    assert not is_anomaly("psi_above_limit")
