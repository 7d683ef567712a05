"""Which limits do the settings name, and which the experiment of the champion?"""

from __future__ import annotations

from typing import Final

from plms_pipeline.errors import BadInput
from plms_pipeline.models.evaluation.guardrails import GuardrailConfig
from plms_pipeline.models.training.experiment import GuardrailsSection
from plms_pipeline.settings import Settings

_LIMITS: Final = (
    "max_gross_exposure", "max_net_exposure", "max_turnover", "max_symbol_exposure", "min_tail_return", "max_tail_frequency",
)  # fmt: skip


def configured(settings: Settings) -> GuardrailConfig:
    """The guardrails of the settings, enforced.

    Raises:
        BadInput: a cap that nothing can be compared with.
    """
    return GuardrailConfig(
        enabled=True,
        capital_base=settings.model_capital_base,
        max_gross_exposure=settings.model_max_gross_exposure,
        max_net_exposure=settings.model_max_net_exposure,
        max_turnover=settings.model_max_turnover,
        max_symbol_exposure=settings.model_max_symbol_exposure,
        min_tail_return=settings.model_min_tail_return,
        max_tail_frequency=settings.model_max_tail_frequency,
        sector_caps=caps_of(settings.model_sector_caps, "PLMS_MODEL_SECTOR_CAPS"),
        factor_caps=caps_of(settings.model_factor_caps, "PLMS_MODEL_FACTOR_CAPS"),
        enforcement=settings.model_enforcement,
    )


def caps_of_experiment(section: GuardrailsSection) -> dict[str, float]:
    """The limits that a model was trained and judged under, as caps; none where its experiment switched them off."""
    if not section.enabled:
        return {}
    plain = {name: getattr(section, name) for name in _LIMITS}
    found = {name: float(limit) for name, limit in plain.items() if limit is not None}
    found |= {f"sector:{name}": cap for name, cap in section.sector_caps.items()}
    return found | {f"factor:{name}": cap for name, cap in section.factor_caps.items()}


def caps_of(text: str, variable: str) -> dict[str, float]:
    """Caps by name, of `tech=0.3,energy=0.2`.

    Raises:
        BadInput: something else stands there, or a name stands twice.
    """
    found: dict[str, float] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, is_cap, cap = (each.strip() for each in part.partition("="))
        try:
            value = float(cap)
        except ValueError:
            value = -1.0
        if not name or not is_cap or not 0.0 <= value < float("inf") or name in found:
            raise BadInput(
                f"{variable} holds {part[:60]!r}; write each name once with its cap, for instance tech=0.3,energy=0.2.",
                code="bad_setting",
            )
        found[name] = value
    return found
