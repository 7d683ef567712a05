"""PLMS Pipeline: the control room above fleets of AI agents, built on Dagster."""

__version__ = "0.1.0"
