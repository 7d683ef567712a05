"""What do `plms run`, `plms project` and `plms budget` offer?

Each module beside this one is one part of it and offers `register(app)`: those named `project…` add to `plms project`, `budget`
to `plms budget`, all others to `plms run`. They are found, not listed, so that a new part is a new file; their heavy imports
stand inside functions.
"""

from __future__ import annotations

import importlib
import pkgutil

import typer

run_app = typer.Typer(no_args_is_help=True)
project_app = typer.Typer(no_args_is_help=True)
budget_app = typer.Typer(no_args_is_help=True)


# A callback keeps a group a group, also while it has a single command.
@run_app.callback()
def run() -> None:
    """Start runs, follow them, and see what became of them."""


@project_app.callback()
def project() -> None:
    """Projects: their tasks, approval, budget and life."""


@budget_app.callback()
def budget() -> None:
    """How long budgets last, what projects will have cost, and breaches."""


for _part in sorted(info.name for info in pkgutil.iter_modules(__path__)):
    _app = project_app if _part.startswith("project") else budget_app if _part == "budget" else run_app
    importlib.import_module(f"{__name__}.{_part}").register(_app)
