"""What SQLite and PostgreSQL say with different words; statements are SQLAlchemy's otherwise."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction


class greatest(GenericFunction[Any]):  # noqa: N801 - as the function is called
    """The greatest of some values of a row."""

    inherit_cache = True


class least(GenericFunction[Any]):  # noqa: N801 - as the function is called
    """The least of some values of a row."""

    inherit_cache = True


@compiles(greatest, "sqlite")
def _greatest(element: greatest, compiler: Any, **options: Any) -> str:
    return f"max({compiler.process(element.clauses, **options)})"


@compiles(least, "sqlite")
def _least(element: least, compiler: Any, **options: Any) -> str:
    return f"min({compiler.process(element.clauses, **options)})"


class whole(GenericFunction[int]):  # noqa: N801 - as the others
    """A number without its fraction."""

    type = sa.Integer()
    inherit_cache = True


@compiles(whole)
def _whole(element: whole, compiler: Any, **options: Any) -> str:
    return f"CAST(trunc({compiler.process(element.clauses, **options)}) AS INTEGER)"


@compiles(whole, "sqlite")
def _whole_of_sqlite(element: whole, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS INTEGER)"
