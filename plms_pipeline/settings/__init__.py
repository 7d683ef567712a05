"""What can be configured, and where did each value come from?

Every environment variable of the project is a field of a group in `groups/`: typed, with unit, default and meaning, validated
once. `composed.py` makes them one object, `reading.py` reads it. `docs/settings.md` and `plms settings` are made from the same
fields. All others import from here.
"""

from plms_pipeline.settings.composed import Settings, grouped_fields, is_secret, shown_value, variable_of
from plms_pipeline.settings.files import project_root
from plms_pipeline.settings.reading import given_values, load_settings
from plms_pipeline.settings.urls import is_http_url, masked

__all__ = [
    "Settings",
    "given_values",
    "grouped_fields",
    "is_http_url",
    "is_secret",
    "load_settings",
    "masked",
    "project_root",
    "shown_value",
    "variable_of",
]
