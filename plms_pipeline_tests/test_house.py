"""Does every file keep the rules of the house?

`.importlinter` holds the rules about imports; here they are attacked, to see that they bite, and completed by what imports
cannot show: calls that open files, modules too long to read, private names of Dagster, things that must never be published.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

from plms_pipeline.cli import COMMANDS
from plms_pipeline_tests.secret_scan import findings, scan, tracked_files

pytestmark = pytest.mark.xdist_group("house")

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "plms_pipeline"
BIN = Path(sys.executable).parent
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
# Of what `import dagster` takes, itself included: 2.1 to 2.55 in November 2026, 1.4 to 1.9 s of processor time.
MAX_IMPORT_RATIO = 2.8

# File names that may touch something; every other module is pure. `registry` may use SQLAlchemy and Alembic everywhere.
TOUCHING = {
    "defs",
    "routes",
    "commands",
    "actions",
    "store",
    "client",
    "files",
    "process",
    "service",
    "render",
    "metrics",
}
TOP_LEVEL = {"cli", "definitions", "resources", "dagster_internals"}
PURE_THIRD_PARTY = {"numpy", "pandas", "pyarrow", "scipy", "sklearn", "numba", "pydantic"}
PURE_EXCEPTIONS = {
    # Formulas and grammars of others, without any effect: BLEU, and the GraphQL parser that tells a query from a mutation.
    "plms_pipeline.kpis.bleu": {"sacrebleu"},
    "plms_pipeline.web.operations": {"graphql"},
    # The form and mathematics of signed tokens: bytes in, claims out.
    "plms_pipeline.access.tokens": {"jwt"},
    # The grammar of YAML: text in, nodes with their lines out.
    "plms_pipeline.runs.plan_document": {"yaml"},
    # The grammar of requirement lines and platform markers.
    "plms_pipeline.monitoring.doctor.lock": {"packaging"},
}
# Table definitions are read once and compared, not followed.
LONG_ON_PURPOSE = {"plms_pipeline.registry.migrations.versions.v0001_sources"}
FILE_CALLS = {
    "open", "read_text", "write_text", "read_bytes", "write_bytes", "mkdir", "unlink", "iterdir", "rglob", "touch", "rmdir",
    "read_csv", "read_parquet", "read_table", "write_table", "to_csv", "to_parquet", "savez",
}  # fmt: skip


@dataclass(frozen=True)
class Module:
    """One source file of the package."""

    path: Path

    @property
    def name(self) -> str:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Ten rules look at every node: they are walked once."""
        return tuple(ast.walk(self.tree))

    @property
    def roles(self) -> set[str]:
        return set(self.name.split(".")[1:]) & (TOUCHING | {"registry"} | TOP_LEVEL)

    def imports(self) -> Iterator[tuple[str, str | None, int]]:
        """(module, imported name, line) of every absolute import, wherever it stands."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((alias.name, None, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield from ((node.module, alias.name, node.lineno) for alias in node.names)

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in self.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


@cache
def modules() -> tuple[Module, ...]:
    return tuple(Module(path) for path in sorted(PACKAGE.rglob("*.py")))


def offenders(lines: list[str]) -> str:
    return "\n" + "\n".join(lines)


@pytest.mark.live
def test_the_import_contracts_hold() -> None:
    """Both rules of ARCHITECTURE.md: downwards only, and a file's name says what it may touch."""
    done = subprocess.run([BIN / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.live
def test_the_import_contracts_bite(tmp_path: Path) -> None:
    """A contract that matches nothing is kept for ever: here one module breaks all of them at once."""
    shutil.copytree(PACKAGE, tmp_path / "plms_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    (tmp_path / "plms_pipeline" / "access" / "probe.py").write_text(
        "import dagster, typer, sqlalchemy, httpx, os, pathlib, subprocess, time, random, jinja2, prometheus_client\n"
        "from plms_pipeline.kpis import gates\n"
    )
    # A name that only contains an allowed one is not allowed.
    (tmp_path / "plms_pipeline" / "access" / "profiles.py").write_text(
        "def f():\n    import shutil\n    return shutil\n"
    )
    done = subprocess.run(
        [BIN / "lint-imports", "--no-cache"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    contracts = (ROOT / ".importlinter").read_text().count("[importlinter:contract:")
    assert f"0 kept, {contracts} broken" in " ".join(done.stdout.split()), done.stdout
    for package in (
        "dagster",
        "typer",
        "sqlalchemy",
        "httpx",
        "os",
        "pathlib",
        "subprocess",
        "time",
        "random",
        "jinja2",
    ):
        assert f"plms_pipeline.access.probe -> {package} " in done.stdout
    assert "plms_pipeline.access.profiles -> shutil " in done.stdout


@pytest.mark.live
def test_a_new_domain_must_be_given_its_place(tmp_path: Path) -> None:
    """A folder that no layer names could import anything from anywhere."""
    shutil.copytree(PACKAGE, tmp_path / "plms_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    (tmp_path / "plms_pipeline" / "novelties").mkdir()
    (tmp_path / "plms_pipeline" / "novelties" / "__init__.py").write_text("")
    done = subprocess.run(
        [BIN / "lint-imports", "--no-cache"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "plms_pipeline.novelties" in done.stdout


def test_pure_modules_import_mathematics_only() -> None:
    """The list of what is forbidden can be forgotten; this is the list of what is allowed."""
    ours = {"plms_pipeline", *sys.stdlib_module_names}
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in modules()
        if not module.roles
        for name, _, line in module.imports()
        if name.split(".")[0] not in ours | PURE_THIRD_PARTY | PURE_EXCEPTIONS.get(module.name, set())
        and not module.name.startswith("plms_pipeline.instance")
    ]
    assert not wrong, offenders(wrong)


def test_actions_know_sessions_not_sql() -> None:
    """SQL outside store.py is found by nobody who looks for the statement that is slow."""
    allowed = {
        ("sqlalchemy.orm", "Session"),
        ("sqlalchemy.exc", "SQLAlchemyError"),
        ("sqlalchemy.exc", "IntegrityError"),
    }
    wrong = [
        f"{module.path}:{line}: {name}.{imported}"
        for module in modules()
        if "actions" in module.roles and "registry" not in module.roles
        for name, imported, line in module.imports()
        if name.split(".")[0] == "sqlalchemy" and (name, imported) not in allowed
    ]
    assert not wrong, offenders(wrong)


def test_only_files_and_their_like_open_files() -> None:
    """`open()` and `read_csv` need no import that a contract could see; atomic writes live in files.py."""
    may = {"files", "process", "service", "store", "registry", *TOP_LEVEL}
    wrong = []
    for module in modules():
        if module.roles & may:
            continue
        for node in module.nodes:
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            owner = function.value if isinstance(function, ast.Attribute) else None
            ours = isinstance(owner, ast.Name) and owner.id in {"files", "store", "Registry", "webbrowser"}
            if called in FILE_CALLS and not ours:
                wrong.append(f"{module.path}:{node.lineno}: {called}()")
    assert not wrong, offenders(wrong)


def test_only_parsing_is_taken_from_urllib() -> None:
    """urllib.request opens sockets and files without any contract noticing."""
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in modules()
        for name, imported, line in module.imports()
        if name.split(".")[0] == "urllib" and name != "urllib.parse" and (name, imported) != ("urllib", "parse")
    ]
    assert not wrong, offenders(wrong)


def test_what_is_printed_is_never_read_as_markup() -> None:
    """A provider called `gpt [/nope]` ended a good night in a traceback, `a:fire:b` was shown with a flame in it."""
    wrong = []
    for module in modules():
        for node in module.nodes:
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Console":
                off = {word.arg for word in node.keywords if getattr(word.value, "value", None) is False}
                if not {"markup", "emoji"} <= off:
                    wrong.append(f"{module.path}:{node.lineno}: Console()")
    assert not wrong, offenders(wrong)


def test_nothing_is_pickled() -> None:
    """Loading a pickle runs whatever its author wanted."""
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in modules()
        for name, _, line in module.imports()
        if name.split(".")[0] in {"pickle", "shelve", "marshal", "joblib", "dill", "cloudpickle"}
    ]
    assert not wrong, offenders(wrong)


def test_private_names_of_dagster_are_in_one_file() -> None:
    """They move between releases; the one file has a contract test for each of them."""
    wrong = [
        f"{module.path}:{line}: {name}"
        for module in modules()
        if module.name != "plms_pipeline.dagster_internals"
        for name, imported, line in module.imports()
        if name.split(".")[0].startswith("dagster")
        and (any(part.startswith("_") for part in name.split(".")) or (imported or "").startswith("_"))
    ]
    assert not wrong, offenders(wrong)


def test_there_is_one_definitions_object() -> None:
    """Dagster refuses a module that shows two, and only at deployment."""
    made = [
        module.name
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) == "Definitions" or getattr(node.func, "id", None) == "Definitions")
    ]
    assert made == ["plms_pipeline.definitions"]


def test_modules_and_functions_fit_the_eye() -> None:
    """Four hundred lines are the most that one question needs; sixty are one screen."""
    wrong = [
        f"{module.path}: {lines} lines"
        for module in modules()
        if (lines := module.text.count("\n")) > MAX_MODULE_LINES and module.name not in LONG_ON_PURPOSE
    ]
    wrong += [
        f"{module.path}:{function.lineno}: {function.name} has {length} lines"
        for module in modules()
        if "versions" not in module.name.split(".")
        for function in module.functions()
        if (length := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not wrong, offenders(wrong)


def test_every_module_and_public_function_says_what_it_is_for() -> None:
    """The next reader has the docstring and nothing else."""
    wrong = [str(m.path) for m in modules() if m.text.strip() and not ast.get_docstring(m.tree)]
    for module in modules():
        if "versions" in module.name.split("."):
            continue
        public: list[ast.AST] = [node for node in module.tree.body if not getattr(node, "name", "_").startswith("_")]
        public += [
            inner
            for node in public
            if isinstance(node, ast.ClassDef)
            for inner in node.body
            if not getattr(inner, "name", "_").startswith("_")
        ]
        wrong += [
            f"{module.path}:{node.lineno}: {node.name}"
            for node in public
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not ast.get_docstring(node)
            and not any(getattr(d, "id", getattr(d, "attr", "")) in {"overload", "override"} for d in node.decorator_list)
        ]  # fmt: skip
    assert not wrong, offenders(wrong)


def test_silenced_rules_have_their_reason_beside_them() -> None:
    """`noqa` without a reason is a rule that nobody dares to switch on again."""
    bare = re.compile(r"#\s*(noqa(:\s*[A-Z0-9, ]+)?|type:\s*ignore(\[[^\]]*\])?)\s*$")
    wrong = [
        f"{module.path}:{number}: {line.strip()}"
        for module in modules()
        for number, line in enumerate(module.text.splitlines(), start=1)
        if bare.search(line)
    ]
    assert not wrong, offenders(wrong)


def test_nothing_is_left_unfinished() -> None:
    """A mark that says "later" is a promise to nobody."""
    marks = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b|raise NotImplementedError")
    wrong = [
        f"{module.path}:{number}: {line.strip()}"
        for module in modules()
        for number, line in enumerate(module.text.splitlines(), start=1)
        if marks.search(line)
    ]
    assert not wrong, offenders(wrong)


def said_by(script: str) -> str:
    """What a script prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.live
@pytest.mark.xdist_group("timing")
def test_the_definitions_import_quickly_and_without_heavy_libraries() -> None:
    """Every run process, every step and the code server pay for what the top of a module imports; and nothing that runs in one
    may depend on Dagster's private names.

    In units of the import of Dagster in the same process a moment before: a slow or busy machine slows both alike.
    """
    heavy = ("pandas", "sklearn", "matplotlib", "scipy", "numba", "pyarrow.compute", "plotly", "jinja2.sandbox",
             "plms_pipeline.dagster_internals")  # fmt: skip
    script = (
        "import json, sys, time, dagster\n"
        "alone = time.process_time()\n"
        "import plms_pipeline.definitions\n"
        f"loaded = [name for name in {heavy!r} if name in sys.modules]\n"
        "print(json.dumps([loaded, time.process_time() / alone]))"
    )
    tries = []
    while len(tries) < 5 and not any(ratio < MAX_IMPORT_RATIO for ratio in tries):
        loaded, ratio = json.loads(said_by(script))
        assert loaded == []
        tries.append(ratio)
    assert min(tries) < MAX_IMPORT_RATIO, f"{tries} times the processor time of `import dagster`"


@pytest.mark.live
@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("plms_pipeline.runs.service.opening", ("numba", "scipy", "alembic", "redis", "fastapi", "dagster")),
        (
            "plms_pipeline.web.api.service.works",
            ("pandas", "numba", "scipy", "alembic", "redis", "fastapi", "jwt", "dagster"),
        ),
        (
            "plms_pipeline.web.api.service.composition",
            ("pandas", "numba", "scipy", "alembic", "redis", "graphql", "dagster"),
        ),
        ("plms_pipeline.alerts.service", ("pandas", "numba", "scipy", "alembic", "redis", "fastapi", "dagster")),
        ("plms_pipeline.web.api.service.server", ("numpy", "alembic", "fastapi", "graphql", "dagster")),
    ],
)
def test_a_process_imports_what_it_needs_to_begin(module: str, unwanted: tuple[str, ...]) -> None:
    """`plms serve` is four processes: what one of them imports in vain is a second in each start, and memory for ever."""
    found = said_by(f"import {module}, sys; print([name for name in {unwanted!r} if name in sys.modules])")
    assert found.strip() == "[]"


@cache
def tracked_text() -> dict[Path, str]:
    found = {}
    for path in tracked_files():
        try:
            found[path] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return found


def test_what_is_published_names_no_machine() -> None:
    """A path or package index of whoever built it breaks every other clone, and tells strangers about the builder."""
    # In pieces, so that this file does not hold what it looks for.
    shapes = ["/wo" r"rk/[a-z.]", "/tmp/" "team", "/ro" "ot/", r"^\s*--?(extra-)?index-url", r"(?<!emit-)find-" r"links",
              r"py" r"pi\.org", "python" "hosted", r"registry\.np" "mjs", r"deb\.deb" "ian"]  # fmt: skip
    shape = re.compile("|".join(shapes), re.IGNORECASE | re.MULTILINE)
    wrong = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for path, text in tracked_text().items()
        for match in shape.finditer(text)
    ]
    assert not wrong, offenders(wrong)


def test_what_is_published_holds_no_secret() -> None:
    """What was committed once is public for ever."""
    found = scan(tracked_text())
    assert not found, offenders(found)


@pytest.mark.parametrize(
    "line",
    ["-----BEGIN " "RSA PRIVATE KEY-----", "AKIA" + "A" * 16, "token = 'ghp_" + "a" * 36 + "'", "xoxb-" + "1" * 12,
     "postgresql://plms:" "correcthorse@db/plms", "PASSWORD = '" "correcthorse'", "eyJ" + "a" * 22 + ".eyJ" + "b" * 22 + "."],
)  # fmt: skip
def test_the_secret_scan_knows_the_common_shapes(line: str) -> None:
    """A net without meshes catches nothing."""
    assert next(findings(f"x\n{line}\n"))[0] == 2


def test_no_large_file_is_published() -> None:
    """A clone should take seconds."""
    large = [
        f"{path}: {path.stat().st_size} bytes"
        for path in tracked_files()
        if path.exists() and path.stat().st_size > 2**20
    ]
    assert not large, offenders(large)


def test_every_import_is_a_declared_dependency() -> None:
    """What is only there because another package happens to need it goes away with that package's next release."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[<>=~! ;]", line)[0].lower().replace("-", "_") for line in declared}
    imported_as = {"scikit_learn": "sklearn", "universal_pathlib": "upath", "pyjwt": "jwt", "pyyaml": "yaml"}
    # Part of what the declared package promises: Markup is Jinja's type, and Dagster's API is GraphQL.
    come_with = {"markupsafe": "jinja2", "graphql": "dagster_webserver"}
    importable = {imported_as.get(name, name) for name in names}
    importable |= {name for name, owner in come_with.items() if owner in names}
    wrong = sorted(
        {
            f"{top} ({module.name})"
            for module in modules()
            for name, _, _ in module.imports()
            if (top := name.split(".")[0]) not in {"plms_pipeline", *sys.stdlib_module_names, *importable}
        }
    )
    assert not wrong, offenders(wrong)


def test_every_dependency_is_used() -> None:
    """A package that nobody imports is downloaded, audited and upgraded for nothing."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[<>=~! ;]", line)[0] for line in declared}
    imported = {name.split(".")[0] for module in modules() for name, _, _ in module.imports()}
    # A pin, the driver behind a URL, the engine behind upath, a program that is run, and data files; and two that belong to the
    # form of the project: the frame in which people open a day of receipts, and the format in which metrics are declared.
    names -= {"grpcio-health-checking", "psycopg", "fsspec", "pytest", "tzdata", "pandas", "prometheus-client"}
    imported_as = {"scikit-learn": "sklearn", "universal-pathlib": "upath", "pyjwt": "jwt", "pyyaml": "yaml"}
    assert {name for name in names if imported_as.get(name, name.replace("-", "_")) not in imported} == set()


def test_every_package_has_its_sentence() -> None:
    """Whoever looks for a thing reads one table; a package that stands in none is found by chance."""
    told = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = [Path(*module.name.split(".")[1:]) for module in modules() if module.path.name == "__init__.py"]
    named = [path for path in packages if path.name and not TOUCHING & set(path.parts)]
    assert len(named) > 40
    assert [str(path) for path in named if f"`{path}`" not in told and f"its `{path.name}`" not in told] == []


def test_every_dependency_has_its_reason() -> None:
    """Each one is a promise to follow its releases; nobody keeps a promise whose reason is forgotten."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    reasons = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Why each dependency")[2]
    rows = " ".join(line.split("|")[1] for line in reasons.splitlines() if line.startswith("| "))
    names = [re.split(r"[\[<>=~! ;]", line)[0] for line in declared]
    assert [name for name in names if name not in rows.replace(",", " ").split()] == []


def test_links_in_the_documents_lead_somewhere() -> None:
    """A reader who meets one dead link stops trusting the others."""
    wrong = [
        f"{path}: {target}"
        for path, text in tracked_text().items()
        if path.suffix == ".md"
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
        if not (path.parent / target).exists()
    ]
    assert not wrong, offenders(wrong)


def test_every_command_is_documented() -> None:
    """What the README does not name, nobody finds."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"plms {name}" not in readme] == []


def _outermost(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Functions of a module and of its classes: pytest collects no others."""
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        yield from (one for one in inside if isinstance(one, ast.FunctionDef))


def test_every_test_is_a_sentence() -> None:
    """When it fails at night, its name is all that the person on call sees."""
    wrong = [
        f"{path}:{node.lineno}: {node.name}"
        for path in sorted(Path(__file__).parent.rglob("test_*.py"))
        for node in _outermost(ast.parse(path.read_text(encoding="utf-8")))
        if node.name.startswith("test_") and node.name.count("_") < 3
    ]
    assert not wrong, offenders(wrong)


@pytest.mark.parametrize("line", (ROOT / ".pre-commit-config.yaml").read_text().splitlines())
def test_hooks_are_local(line: str) -> None:
    """A hook that is fetched from elsewhere fails without network and runs other versions than the lock's."""
    assert not line.strip().startswith("- repo:") or line.strip() == "- repo: local"
