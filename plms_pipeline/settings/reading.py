"""What does the environment say, and is it all right?

An unknown `PLMS_*` variable is an error, because a misspelt limit that is silently ignored is discovered by the bill.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import ValidationError

from plms_pipeline.errors import BadInput
from plms_pipeline.settings.composed import PREFIX, Settings, is_secret, shown_value, variable_of
from plms_pipeline.settings.files import default_databases, default_folder, secret_in


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and validate every setting.

    Args:
        environ: the environment; `os.environ` when omitted.

    Raises:
        BadInput: an unknown `PLMS_*` variable, an unreadable secret file, or a value that breaks its rule.
    """
    given = given_values(environ)
    raw: dict[str, object] = {field: value for field, (value, _) in given.items()}
    try:
        return Settings.model_validate({**_defaults(raw), **raw})
    except ValidationError as error:
        # The database URL is derived from the data directory, which comes first.
        first = error.errors()[0]
        field = str(first["loc"][0])
        shown = repr(shown_value(field, str(raw.get(field))))
        raise BadInput(
            f"{variable_of(field)}={shown} is not valid: {first['msg'].removeprefix('Value error, ')}; "
            f"meaning: {Settings.model_fields[field].description}",
            code="bad_setting",
        ) from None


def given_values(environ: Mapping[str, str] | None = None) -> dict[str, tuple[str, str]]:
    """Field → (raw value, source) for what the environment sets; an empty variable counts as unset.

    Args:
        environ: the environment; `os.environ` when omitted.

    Raises:
        BadInput: an unknown `PLMS_*` variable, or an unreadable secret file.
    """
    environ = os.environ if environ is None else environ
    known = {variable_of(field): field for field in Settings.model_fields}
    given: dict[str, tuple[str, str]] = {}
    for variable, raw in environ.items():
        base = variable.removesuffix("_FILE")
        if not variable.startswith(PREFIX) and variable not in known and base not in known:
            continue
        if variable in known:
            if raw.strip():
                given[known[variable]] = (raw.strip(), f"environment ({variable})")
        elif base != variable and base in known and is_secret(known[base]):
            if raw.strip() and not environ.get(base, "").strip():
                given[known[base]] = (_secret_file(variable, raw.strip()), f"file ({variable})")
        else:
            near = _nearest(variable)
            hint = f"did you mean {near}?" if near else "`plms settings` lists those that exist."
            raise BadInput(f"{variable} is set but no such setting exists; {hint}", code="unknown_setting")
    return given


def _nearest(variable: str) -> str | None:
    """The variable that was probably meant, or None.

    The prefix and `_FILE` do not count: what every name shares makes strangers look alike. A name that is not close as a
    whole may still share a whole word (PLMS_KPI_DB).
    """
    import difflib

    asked = variable.removeprefix(PREFIX)
    bare = asked.removesuffix("_FILE")
    names = {field.upper(): field for field in Settings.model_fields if variable_of(field).startswith(PREFIX)}
    # The same words in another order are nearer than any likeness of letters.
    near = [name for name in names if sorted(name.split("_")) == sorted(bare.split("_"))][:1]
    near = near or difflib.get_close_matches(bare, names, n=1)
    if not near:
        words = set(bare.split("_"))
        kin = [name for name in names if words & set(name.split("_")) - {"MAX", "MIN", "URL", "DIR", "MS", "MB", "S"}]
        near = difflib.get_close_matches(bare, kin, n=1, cutoff=0.0)
    if not near:
        return None
    as_file = "_FILE" if asked != bare and is_secret(names[near[0]]) else ""
    return PREFIX + near[0] + as_file


def _secret_file(variable: str, path: str) -> str:
    try:
        return secret_in(path)
    except ValueError as problem:
        raise BadInput(
            f"{variable} names {path}, which {problem}; point it at a readable file that holds only the value.",
            code="bad_setting",
        ) from None


def _defaults(given: Mapping[str, object]) -> dict[str, object]:
    """The defaults that depend on where the project stands."""
    values: dict[str, object] = {}
    for field, folder in (("data_dir", "data"), ("reports_dir", "reports")):
        if field in given:
            continue
        values[field] = default_folder(folder)
        if values[field] is None:
            raise BadInput(
                f"{variable_of(field)} is not set and this installation is not a checkout; set it to an absolute path.",
                code="missing_setting",
            )
    data_dir = given.get("data_dir", values.get("data_dir"))
    return {**values, **default_databases(str(data_dir), given)}
