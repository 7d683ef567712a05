"""Which names do vendors give to the columns of a bar?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plms_pipeline.errors import BadInput
from plms_pipeline.models.market.bars import PRICES

# Compared without case, blanks, underscores, dots, stars and brackets.
NAMES: Final[dict[str, tuple[str, ...]]] = {
    "timestamp": ("timestamp", "date", "datetime", "time", "day", "barend", "dateutc", "timestamputc"),
    "symbol": ("symbol", "ticker", "instrument", "asset", "code"),
    "open": ("open", "o", "openprice", "1open"),
    "high": ("high", "h", "highprice", "2high"),
    "low": ("low", "l", "lowprice", "3low"),
    "close": ("close", "c", "closeprice", "last", "4close", "closelast"),
    "volume": ("volume", "v", "vol", "5volume"),
    "adjusted": ("adjclose", "adjustedclose", "5adjustedclose"),
}
REQUIRED: Final = ("timestamp", *PRICES)
_SILENT: Final = str.maketrans("", "", " _.*-()/")


def columns_of(header: Sequence[str], thing: str) -> dict[str, str]:
    """Which column of a file stands for which of `NAMES`; what the file does not have is absent.

    Raises:
        BadInput: a required column is missing, or two columns could be the same one.
    """
    found: dict[str, str] = {}
    for column in header:
        plain = column.strip().lstrip("\ufeff").lower().translate(_SILENT)
        for name, known in NAMES.items():
            if plain not in known:
                continue
            if name in found:
                raise BadInput(
                    f"{thing} has two columns for {name}: {found[name]!r} and {column!r}; keep one of them.",
                    code="duplicate_column",
                )
            found[name] = column
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        shown = ", ".join(repr(column) for column in header[:20])
        raise BadInput(
            f"{thing} has no column for {', '.join(missing)} (it has {shown}); a file of prices has a timestamp, open, "
            "high, low and close, and may have symbol, volume and adjusted close.",
            code="missing_column",
        )
    return found
