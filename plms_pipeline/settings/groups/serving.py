"""Where does the champion answer, how often is the registry asked who that is, and which limits do its guardrails have?"""

from typing import Literal

from plms_pipeline.settings.base import Group, setting


class Serving(Group):
    """Serving of models and their guardrails."""

    model_host: str = setting("127.0.0.1", "host", "Address that `plms model serve` binds.")
    model_port: int = setting(6300, "port", "Port of `plms model serve`.", ge=1, le=65535)
    model_watch_s: float = setting(
        1.0,
        "s",
        "How often the registry is asked which model is promoted, and whether guardrails are on.",
        ge=0.05,
        le=60,
    )
    model_max_rows: int = setting(
        1024, "rows", "So many predictions are answered at most, and so many bars or ten times as many trades taken.",
        ge=1, le=100_000,
    )  # fmt: skip
    model_capital_base: float = setting(
        1.0,
        "money",
        "Capital of which exposures and turnover are multiples, in the unit of the trades' notional.",
        gt=0,
    )
    model_enforcement: Literal["clip", "warn"] = setting(
        "clip", "mode", "Whether `/guardrails` cuts a book to its limits, or only says which are broken."
    )
    model_max_gross_exposure: float | None = setting(1.0, "× capital", "Limit of the gross exposure of a moment.", ge=0)
    model_max_net_exposure: float | None = setting(1.0, "× capital", "Limit of the net exposure of a moment.", ge=0)
    model_max_turnover: float | None = setting(1.5, "× capital", "Limit of the mean turnover per moment.", ge=0)
    model_max_symbol_exposure: float | None = setting(
        None, "× capital", "Limit of the exposure to one symbol; default: none.", ge=0
    )
    model_min_tail_return: float | None = setting(
        None, "money", "Floor of the tail return per moment, in the unit of the trades' pnl; default: none."
    )
    model_max_tail_frequency: float | None = setting(
        None, "fraction", "Limit of the share of moments below that floor; default: none.", ge=0, le=1
    )
    model_sector_caps: str = setting("", "caps", "Limits by sector, for instance tech=0.3,energy=0.2; empty: none.")
    model_factor_caps: str = setting("", "caps", "Limits by factor, written alike.")
