"""What do `plms run`, `plms project` and `plms budget` offer?

Each module beside this one is one part of it and offers `register(app)`: those named `project…` add to `plms project`, `budget`
to `plms budget`, all others to `plms run`. They are found, not listed, so that a new part is a new file; their heavy imports
stand inside functions.
"""

from __future__ import annotations

import typer

from plms_pipeline.parts import parts_of

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


for _part in parts_of(__name__, __path__):
    _name = _part.__name__.rpartition(".")[2]
    _app = project_app if _name.startswith("project") else budget_app if _name == "budget" else run_app
    _part.register(_app)
