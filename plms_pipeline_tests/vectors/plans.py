"""Plans for the demos: new projects each time, so that a demo can be shown again on the same day.

Five attempts a task: the executor replays real costs, and a twentieth of them reaches its hard cap.
"""

from __future__ import annotations

from typing import Any

PROVIDER = "GPT-5 (2025-08-07) (medium reasoning)"
OPERATIONS = ("add", "subtract", "multiply", "divide", "power", "root", "modulo", "log", "sin", "cos")


def calculator() -> dict[str, Any]:
    """The guides' calculator: ten endpoints and a page of documentation for each."""
    endpoints = [
        {"key": name, "name": f"Endpoint {name}", "kind": "endpoint", "lane": 4200, "complexity": "simple"}
        for name in OPERATIONS
    ]
    pages = [
        {"key": f"{name}-docs", "name": f"Documentation of {name}", "kind": "docs", "lane": 4202, "complexity": "simple",
         "depends_on": [name]}
        for name in OPERATIONS
    ]  # fmt: skip
    return {"name": "Calculator API (demo)", "provider": PROVIDER, "max_attempts": 5, "tasks": endpoints + pages}


_HARD_TO_READ = (
    "Notwithstanding considerations regarding organisational responsibilities, administrators responsible for operational "
    "infrastructure simultaneously coordinate multidimensional authorisation methodologies, incorporating institutional "
    "documentation requirements and interdepartmental communication specifications.\n"
)


def guide() -> dict[str, Any]:
    """One page that is written, and that nobody can read: the run ends well, its gate (readability <= 10) does not."""
    script = f"from pathlib import Path; Path('generated_docs.md').write_text({_HARD_TO_READ * 5!r})"
    task = {
        "key": "guide", "name": "Write the operators' guide", "kind": "docs", "lane": 4202, "complexity": "simple",
        "command": ["python", "-c", script],
    }  # fmt: skip
    return {
        "name": "Operators' guide (demo)", "provider": PROVIDER, "owner": "the-operator", "max_attempts": 5, "tasks": [task],
    }  # fmt: skip
