"""What may be asked of a training in the Launchpad?"""

from typing import Literal

import dagster as dg
from pydantic import Field


class DataConfig(dg.Config):
    """Which prices."""

    dataset: str = Field(
        "",
        description="A file of prices below the data folder: CSV, CSV.gz, Parquet, or SQLite with the table `series`. Empty: "
        "what `plms import prices` imported.",
    )
    symbol: str = Field("", description="Of a file without a symbol column; empty: from its name.")


class ExperimentConfig(dg.Config):
    """Which experiment."""

    experiment: Literal["ridge", "boosting"] = Field(
        "ridge", description="A preset: ridge (the default model) or boosting (the challenger), both walk-forward."
    )
    experiment_file: str = Field(
        "", description="An experiment in a file below the data folder, YAML or JSON; replaces the preset."
    )
