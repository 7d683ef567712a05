"""Where do paths start, and what lies where when nothing is said?"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator


def project_root() -> Path | None:
    """The checkout that this package runs from (it holds `dagster.yaml`), or None when installed elsewhere."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "dagster.yaml").is_file() or (root / "pyproject.toml").is_file() else None


def anchored(text: str) -> Path:
    """An absolute path without symbolic links; a relative one starts at the checkout, never at the current directory.

    Raises:
        ValueError: the path is relative and there is no checkout, or `~name` is nobody's home.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ValueError("starts with the home directory of a user that does not exist") from None
    if not path.is_absolute():
        root = project_root()
        if root is None:
            raise ValueError("must be an absolute path, because this installation is not a checkout")
        path = root / path
    return path.resolve()


def sqlite_url(file: Path) -> str:
    """The URL of a database file; a database URL is percent-encoded, a path is not."""
    return f"sqlite:///{str(file).replace('%', '%25').replace('?', '%3F')}"


def database_url(value: str) -> str:
    """A database's URL as SQLAlchemy takes it: with the driver's name, a file by its absolute path.

    Raises:
        ValueError: neither SQLite nor PostgreSQL, or a database in memory.
    """
    if value.startswith("postgresql://"):
        return "postgresql+psycopg://" + value.removeprefix("postgresql://")
    if value.startswith("postgresql+psycopg://"):
        return value
    scheme, separator, path = value.partition("sqlite:///")
    if scheme or not separator:
        raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
    file, question, query = path.partition("?")
    if not file or file == ":memory:":
        raise ValueError("must name a file: a database in memory is gone when the command ends")
    return f"{sqlite_url(anchored(unquote(file)))}{question}{query}"


def folder_or_url(value: str) -> str:
    """An fsspec URL as it is; what is none is a folder, by its absolute path."""
    return value if "://" in value else str(anchored(value))


AbsolutePath = Annotated[Path, BeforeValidator(lambda value: anchored(str(value)))]
DatabaseUrl = Annotated[str, AfterValidator(database_url)]
FolderOrUrl = Annotated[str, AfterValidator(folder_or_url)]


def default_folder(name: str) -> Path | None:
    """`data/` or `reports/` of the checkout, or None when there is no checkout."""
    root = project_root()
    return None if root is None else root / name


def default_databases(data_dir: str, given: Collection[str]) -> dict[str, str | None]:
    """Field → URL of the databases that lie in the data directory, for the fields that are not given."""
    try:
        folder = anchored(data_dir)
    except ValueError:
        return {"database_url": None}  # Validation says what is wrong with the data directory.
    found: dict[str, str | None] = {}
    if "database_url" not in given:
        found["database_url"] = sqlite_url(folder / "registry.db")
    warehouse = folder / "kpi_warehouse.db"
    if "kpi_database_url" not in given and warehouse.is_file():
        found["kpi_database_url"] = sqlite_url(warehouse)
    return found


def secret_in(file: str) -> str:
    """The value that a secret file holds, without white space around it.

    Raises:
        ValueError: the file cannot be read as text, or is empty.
    """
    try:
        value = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read as text ({error.__class__.__name__})") from None
    if not value:
        raise ValueError("is empty")
    return value
