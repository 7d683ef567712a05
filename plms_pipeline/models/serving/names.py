"""Which words may stand in the labels of the model server's series?

Closed lists, here and not in `metrics.py`, because docs/metrics.md and the rules' tests are held to them too.
"""

from __future__ import annotations

from typing import Final

OTHER: Final = "other"
# Endpoint, as the sources write it, and the one method that it has. /metrics and /healthz are asked every few seconds by
# machines and are counted by nobody.
ENDPOINTS: Final = {"predict": "POST", "guardrails": "POST", "reload": "POST", "health": "GET", "config": "GET"}
METHODS: Final = ("GET", "POST", OTHER)
STATUSES: Final = ("200", "400", "401", "403", "404", "405", "409", "413", "415", "422", "429", "500", "503", OTHER)
EXCEPTIONS: Final = (
    "RequestValidationError", "HTTPException", "BadInput", "Unprocessable", "NotFound", "NoData", "Conflict", "VerdictNo",
    "Unauthenticated", "Forbidden", "Unavailable", "ValueError", "TypeError", "KeyError", "IndexError", "RuntimeError",
    "MemoryError", "OSError", OTHER,
)  # fmt: skip
# Figures of the operations summary that are told of the champion.
FIGURES: Final = (
    "sharpe", "sortino", "max_drawdown", "calmar", "volatility", "hit_rate", "value_at_risk", "expected_shortfall",
    "total_return", "annualised_return",
)  # fmt: skip
# The kinds of violations: what names a symbol, sector or factor is counted by its kind, so that labels stay few.
KINDS: Final = (
    "gross_exposure_peak", "net_exposure_peak", "turnover_rate", "tail_return_quantile", "tail_event_frequency",
    "symbol_exposure", "sector_exposure", "factor_exposure",
)  # fmt: skip
UNCOUNTED: Final = ("/metrics", "/healthz")
