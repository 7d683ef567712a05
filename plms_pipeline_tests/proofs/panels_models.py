"""The part of the panels' world that is about models: a promoted model, what the live monitor saw of it, and who asks it."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import LiveSnapshot
from plms_pipeline_tests.models.serving.worlds import promote, trained

ASK_EVERY_S = 2.0


def promoted(environ: dict[str, str]) -> None:
    """A model that serves, another that waits for a person, and two looks of the live monitor."""
    registry = Registry.open(environ["PLMS_DATABASE_URL"])
    try:
        root, now = Path(environ["PLMS_DATA_DIR"]), SystemClock().now()
        promote(registry, trained(root), at=now)
        # Its candidate waits: what a promotion does to it is not the panels' concern.
        promote(registry, trained(root, 3.0), at=now)
        with registry.writing() as session:
            for hours, code in ((2, "psi_above_limit"), (1, "sharpe_below_minimum")):
                session.add(
                    LiveSnapshot(
                        family="market", at=now - timedelta(hours=hours), rows=250, alerts_json=[code], action="risk_review",
                        metrics_json={
                            "risk": {"sharpe": -0.4, "max_drawdown": -0.05, "hit_rate": 0.49},
                            "drift": {"population_stability_index": 0.1, "js_divergence": 0.02, "ks_statistic": 0.1},
                        },
                    )
                )  # fmt: skip
    finally:
        registry.close()


class Trader(threading.Thread):
    """Asks the model server, for good answers and for bad ones, until told otherwise."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(name="trader", daemon=True)
        self._client = httpx.Client(
            base_url=url, timeout=60, trust_env=False, headers={"Authorization": f"Bearer {token}"}
        )
        self.is_over = threading.Event()
        self.failed: Exception | None = None

    def run(self) -> None:
        """Predictions, books that are cut, and a symbol that nobody knows."""
        row = {"timestamp": "2026-03-02T14:30:00Z", "symbol": "A", "notional": 4.0, "pnl": -0.1}
        asked: list[tuple[str, dict[str, Any], int]] = [
            ("/predict", {}, 200), ("/predict", {"last": 20}, 200), ("/predict", {"symbols": ["NOBODY"]}, 422),
            ("/guardrails", {"trades": [row]}, 200),
        ]  # fmt: skip
        try:
            while not self.is_over.is_set():
                for path, body, status in asked:
                    answer = self._client.post(path, json=body)
                    assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text}"
                self.is_over.wait(ASK_EVERY_S)
        except Exception as error:  # told at the end
            self.failed = error
        finally:
            self._client.close()
