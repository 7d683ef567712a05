"""Which settings are there together, under which names, and what of them may be shown?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plms_pipeline.settings.base import Group
from plms_pipeline.settings.groups.access import Access
from plms_pipeline.settings.groups.alerts import Alerts
from plms_pipeline.settings.groups.evidence import Evidence
from plms_pipeline.settings.groups.executor import Executor
from plms_pipeline.settings.groups.guards import Guards
from plms_pipeline.settings.groups.kpis import Kpis
from plms_pipeline.settings.groups.models import Models
from plms_pipeline.settings.groups.operation import Operation
from plms_pipeline.settings.groups.receipts import Receipts
from plms_pipeline.settings.groups.serving import Serving
from plms_pipeline.settings.groups.storage import Storage
from plms_pipeline.settings.groups.web import Web
from plms_pipeline.settings.urls import masked, without_path

PREFIX = "PLMS_"


# To be read from the last: pydantic takes the fields of the last base first, and the data directory must be validated first.
class Settings(Operation, Serving, Alerts, Access, Web, Evidence, Guards, Executor, Models, Kpis, Receipts, Storage):
    """All settings, validated and frozen. Field `x` is read from the variable `PLMS_X`, or from one that the guides named."""

    def __repr_args__(self) -> Iterator[tuple[str, str]]:
        """What `repr` shows: a settings object ends up in logs and tracebacks, a password must not."""
        return ((field, shown_value(field, str(getattr(self, field) or ""))) for field in type(self).model_fields)


def grouped_fields() -> list[tuple[str, list[str]]]:
    """(heading, fields) of each group, in the order in which people read them."""
    groups = [base for base in reversed(Settings.__bases__) if issubclass(base, Group)]
    return [((group.__doc__ or group.__name__).partition(".")[0], list(group.model_fields)) for group in groups]


def variable_of(field: str) -> str:
    """The environment variable of a field: `data_dir` → `PLMS_DATA_DIR`; a few keep the name that the guides gave them."""
    named = _extra(field).get("variable")
    return str(named) if named else PREFIX + field.upper()


def is_secret(field: str) -> bool:
    """Whether a field's value is masked wherever it is shown."""
    return bool(_extra(field).get("secret"))


def shown_value(field: str, text: str) -> str:
    """A value of a field as it may be shown. Every URL is masked: people put passwords into any of them."""
    shown = masked(text) if text and (is_secret(field) or "://" in text) else text
    return without_path(shown) if _extra(field).get("secret_path") and "://" in shown else shown


def _extra(field: str) -> dict[str, Any]:
    extra = Settings.model_fields[field].json_schema_extra
    return extra if isinstance(extra, dict) else {}
