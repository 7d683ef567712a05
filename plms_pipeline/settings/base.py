"""How is one setting declared?

A group is a small pydantic model with the settings of one domain; `Settings` is all groups together, and the only one that is
ever made. What pydantic has no word for (unit, secrecy, a variable's own name) travels with the field.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

INT64_MAX = 2**63 - 1


class Group(BaseModel):
    """Base of the groups. The first line of a group's docstring is its heading in `docs/settings.md`."""

    # The validator is built when settings are first read: no group needs one, and who only imports `Settings` does not pay.
    # For the same reason groups do without `from __future__ import annotations`: each text would be evaluated twice.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, defer_build=True)


def setting(
    default: Any,
    unit: str,
    description: str,
    *,
    secret: bool = False,
    is_secret_path: bool = False,
    variable: str | None = None,
    **rules: Any,
) -> Any:
    """A setting of a group.

    Args:
        default: what counts when the variable is not set; None for what `files.default_places` works out.
        unit: the unit of a number, or the kind of a text.
        description: one sentence, shown by `plms settings`, in docs/settings.md and beside a value that is refused.
        secret: the value is masked wherever it is shown, and may come from a file.
        is_secret_path: the path of the URL is the secret, and is not shown either.
        variable: the environment variable's own name; by default the field's name after `PLMS_`.
        rules: bounds and patterns as `pydantic.Field` takes them.
    """
    extra: dict[str, Any] = {"unit": unit, "secret": secret or is_secret_path, "secret_path": is_secret_path}
    if variable is not None:
        extra["variable"] = variable
    return Field(default=default, description=description, json_schema_extra=extra, **rules)
