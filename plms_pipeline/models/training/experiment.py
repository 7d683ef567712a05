"""What did somebody ask to be trained?

One validated document: every knob of a training has a name, a unit, a default and a range here, and a key that nobody knows
is refused, because a mistyped `alhpa` would otherwise train quietly with the default. Two documents that mean the same have
the same canonical form and digest, which the manifest keeps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from plms_pipeline.errors import BadInput
from plms_pipeline.models.training.costs import Costs
from plms_pipeline.models.training.walkforward import Plan

if TYPE_CHECKING:
    from plms_pipeline.models.evaluation.guardrails import GuardrailConfig
    from plms_pipeline.models.evaluation.thresholds import OperationsThresholds

SHOWN: Final = 8


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class DataSection(_Section):
    """Which bars, and which features of them; all of both when omitted."""

    symbols: Annotated[tuple[str, ...] | None, Field(min_length=1)] = None
    features: Annotated[tuple[str, ...] | None, Field(min_length=1)] = None
    strict_validation: bool = False


class TargetSection(_Section):
    """The log return over `horizon` bars in units of its deviation; `clip` bounds what training sees, in the same units."""

    horizon: Annotated[int, Field(ge=1, le=250)] = 1
    clip: Annotated[float, Field(gt=0.0)] = 6.0


class RidgeSection(_Section):
    """StandardScaler + Ridge."""

    kind: Literal["ridge"] = "ridge"
    alpha: Annotated[float, Field(gt=0.0)] = 10.0


class BoostingSection(_Section):
    """HistGradientBoostingRegressor."""

    kind: Literal["boosting"]
    iterations: Annotated[int, Field(ge=1, le=2_000)] = 100
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    leaves: Annotated[int, Field(ge=2, le=255)] = 15
    leaf_rows: Annotated[int, Field(ge=1)] = 100


class WalkForwardSection(_Section):
    """Windows in bars; `purge` is the horizon when omitted."""

    train: Annotated[int, Field(ge=50)] = 1_500
    test: Annotated[int, Field(ge=1)] = 250
    purge: Annotated[int | None, Field(ge=0)] = None
    embargo: Annotated[int, Field(ge=0)] = 0
    expanding: bool = False


class TradingSection(_Section):
    """Position tanh(k · prediction); costs as fractions of the value."""

    k: Annotated[float, Field(gt=0.0)] = 5.0
    transaction: Annotated[float, Field(ge=0.0, lt=1.0)] = 1e-4
    slippage: Annotated[float, Field(ge=0.0, lt=1.0)] = 1e-4
    holding: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


class ThresholdsSection(_Section):
    """Limits on the operations summary; none by default. A flag of `plms retrain` goes before the limit of its name."""

    min_sharpe: float | None = None
    max_drawdown: float | None = None
    max_gross_exposure: float | None = None
    max_turnover: float | None = None
    min_tail_return: float | None = None
    max_tail_frequency: float | None = None
    max_symbol_exposure: float | None = None

    @property
    def limits(self) -> OperationsThresholds:
        """As the summary reads them; raises BadInput for one that cannot be compared."""
        from plms_pipeline.models.evaluation.thresholds import OperationsThresholds

        return OperationsThresholds(**self.model_dump())


class GuardrailsSection(_Section):
    """Limits on books: what training measures them against, and what serving the candidate cuts trades to."""

    enabled: bool = False
    enforcement: Literal["clip", "warn"] = "clip"
    capital_base: float = 1.0
    tail_percentile: float = 5.0
    max_gross_exposure: float | None = None
    max_net_exposure: float | None = None
    max_turnover: float | None = None
    min_tail_return: float | None = None
    max_tail_frequency: float | None = None
    max_symbol_exposure: float | None = None
    sector_caps: dict[str, float] = Field(default_factory=dict)
    factor_caps: dict[str, float] = Field(default_factory=dict)

    @property
    def config(self) -> GuardrailConfig:
        """As `guard` reads them; raises BadInput for one that cannot be compared."""
        from plms_pipeline.models.evaluation.guardrails import GuardrailConfig

        return GuardrailConfig(**self.model_dump())


class AnnotationsSection(_Section):
    """How much a bar teaches about which somebody said this; what is not named weighs 1, as a bar that nobody spoke about."""

    weights: dict[
        Literal["approve", "escalate", "flag", "hold", "reject"], Annotated[float, Field(ge=0.0, le=1_000.0)]
    ] = Field(default_factory=dict)

    @property
    def by_word(self) -> dict[str, float]:
        """The weights by decision."""
        return {str(word): weight for word, weight in self.weights.items()}


class Experiment(_Section):
    """A whole training. The empty document is the default one."""

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "default"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7
    notes: Annotated[str, Field(max_length=2_000)] = ""
    data: DataSection = DataSection()
    target: TargetSection = TargetSection()
    model: Annotated[RidgeSection | BoostingSection, Field(discriminator="kind")] = RidgeSection()
    walk_forward: WalkForwardSection = WalkForwardSection()
    trading: TradingSection = TradingSection()
    thresholds: ThresholdsSection = ThresholdsSection()
    guardrails: GuardrailsSection = GuardrailsSection()
    annotations: AnnotationsSection = AnnotationsSection()

    @model_validator(mode="after")
    def _purge_covers_the_horizon(self) -> Self:
        purge = self.walk_forward.purge
        if purge is not None and purge < self.target.horizon:
            raise ValueError(
                f"walk_forward.purge is {purge}, but a target of {self.target.horizon} bars reaches that far into the test; "
                "leave purge out or make it at least the horizon"
            )
        return self

    @model_validator(mode="after")
    def _limits_can_be_compared(self) -> Self:
        for name, made in (
            ("thresholds", lambda: self.thresholds.limits),
            ("guardrails", lambda: self.guardrails.config),
        ):
            try:
                made()
            except BadInput as error:
                raise ValueError(f"{name}: {error.message}") from None
        return self

    @property
    def plan(self) -> Plan:
        """How time is split."""
        walk = self.walk_forward
        purge = self.target.horizon if walk.purge is None else walk.purge
        return Plan(walk.train, walk.test, purge, walk.embargo, walk.expanding)

    @property
    def costs(self) -> Costs:
        """What trading costs."""
        return Costs(self.trading.transaction, self.trading.slippage, self.trading.holding)

    def canonical(self) -> str:
        """The document with every default written out, as canonical JSON."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def digest(self) -> str:
        """SHA-256 (hex) of the canonical form."""
        return hashlib.sha256(self.canonical().encode("utf-8")).hexdigest()


def experiment(document: Mapping[str, Any], thing: str = "The experiment") -> Experiment:
    """Validate a document.

    Args:
        document: what stood in the file.
        thing: how the file is called in messages.

    Raises:
        BadInput: a key is unknown, a value has the wrong type or lies outside its range; all of them are named.
    """
    try:
        # Over JSON, so that a list is a tuple and 1 a float, while "1" stays refused.
        return Experiment.model_validate_json(json.dumps(_with_kind(document), default=_refuse))
    except ValidationError as error:
        problems = [_problem(one) for one in error.errors(include_url=False)]
    except (TypeError, ValueError) as error:
        problems = [str(error)]
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise BadInput(f"{thing} cannot be used: {'; '.join(problems[:SHOWN])}{more}.", code="bad_experiment")


def branch(parent: Experiment, changes: Mapping[str, Any], thing: str = "The experiment") -> Experiment:
    """The experiment of a parent with some keys changed: those of a section one by one, what lies deeper as a whole.

    Args:
        changes: a document that names only what is to be different. Another `model.kind` begins its section anew.
        thing: how the file is called in messages.

    Raises:
        BadInput: as `experiment`, of what comes out.
    """
    document = parent.model_dump(mode="json")
    for name, value in changes.items():
        own = document.get(name)
        if isinstance(own, dict) and isinstance(value, Mapping):
            begins_anew = name == "model" and value.get("kind", own["kind"]) != own["kind"]
            document[name] = value if begins_anew else {**own, **value}
        else:
            document[name] = value
    return experiment(document, thing)


def _with_kind(document: Mapping[str, Any]) -> Mapping[str, Any]:
    # What is left out has its default, but a union asks for its discriminator before it looks at defaults.
    model = document.get("model")
    return {**document, "model": {"kind": "ridge", **model}} if isinstance(model, Mapping) else document


def _refuse(value: object) -> Any:
    raise TypeError(f"{value!r} is neither text, number, list nor mapping; write dates in quotes")


def _problem(one: Mapping[str, Any]) -> str:
    # The name of the union's branch is no key of the document.
    place = ".".join(str(part) for part in one["loc"] if part not in {"ridge", "boosting"}) or "document"
    if one["type"] == "extra_forbidden":
        return f"{place} is not a known key"
    return f"{place}: {str(one['msg']).removeprefix('Value error, ')} (found {str(one['input'])[:60]!r})"
