"""Isolated children: limits, emptied environment, own namespaces where the system allows them."""

from plms_pipeline.kpis.process.children import Cage, ChildResult, Limits, cage, environment_of, run_in_cage

__all__ = ["Cage", "ChildResult", "Limits", "cage", "environment_of", "run_in_cage"]
