"""Do caps do what whoever signs them believes?

A cap looser than the limit by which a candidate was judged changes nothing, and its record says that it was tightened. A cap on
turnover leaves a broken limit on exposure broken. Limits on the Sharpe ratio or the drawdown have no cap of their own: what
mends them is the risk lead's to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from plms_pipeline.models.decision.words import CAPS

# The alert codes of an operations summary that one cap mends.
MENDS: Final[dict[str, str]] = {
    "gross_exposure_above_limit": "max_gross_exposure", "turnover_above_limit": "max_turnover",
    "symbol_exposure_above_limit": "max_symbol_exposure",
    "guardrail_gross_exposure_peak_broken": "max_gross_exposure",
    "guardrail_net_exposure_peak_broken": "max_net_exposure", "guardrail_turnover_rate_broken": "max_turnover",
    "guardrail_symbol_exposure_broken": "max_symbol_exposure",
}  # fmt: skip
# As the guardrails compare.
_TOLERANCE: Final = 1e-9


def limits_of(summary: Mapping[str, Any], experiment: object) -> dict[str, float]:
    """By the name of a cap the strictest limit by which a candidate was judged; without one where there was none.

    Args:
        summary: the operations summary that is signed.
        experiment: of the manifest.
    """
    rails = experiment.get("guardrails") if isinstance(experiment, Mapping) else None
    rails = rails if isinstance(rails, Mapping) and rails.get("enabled") else {}
    found: dict[str, float] = {}
    for source in (summary.get("thresholds") or {}, rails):
        for name in CAPS:
            _lower(found, name, source.get(name))
    for kind in ("sector", "factor"):
        for member, limit in (rails.get(f"{kind}_caps") or {}).items():
            _lower(found, f"{kind}:{member}", limit)
    return found


def _lower(found: dict[str, float], name: str, limit: object) -> None:
    if isinstance(limit, int | float) and not isinstance(limit, bool):
        found[name] = min(float(limit), found.get(name, float(limit)))


def looser(caps: Mapping[str, float], limits: Mapping[str, float]) -> tuple[str, ...]:
    """The caps that tighten nothing."""
    return tuple(name for name, cap in caps.items() if name in limits and cap > limits[name] * (1 + _TOLERANCE))


def unmended(alerts: Iterable[str], caps: Mapping[str, float]) -> dict[str, str]:
    """The broken limits that have a cap of their own and did not get it, with its name."""
    return {code: MENDS[code] for code in dict.fromkeys(alerts) if code in MENDS and MENDS[code] not in caps}
