"""No SQL is made of values: what a person, a file or a venue wrote is bound, wherever it goes."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "engine"
TAKES_SQL = {"text", "execute", "executemany", "executescript", "exec_driver_sql", "literal_column"}


def made_of_values(source: str) -> Iterator[str]:
    """The calls that take SQL and are given text that is put together."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and _name(node.func) in TAKES_SQL:
            given = node.args[0]
            is_formatted = isinstance(given, ast.Call) and _name(given.func) == "format"
            if isinstance(given, ast.JoinedStr | ast.BinOp) or is_formatted:
                yield ast.unparse(node)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def test_no_sql_is_made_of_values() -> None:
    found = {
        f"{path.relative_to(ENGINE)}: {call}"
        for path in ENGINE.rglob("*.py")
        for call in made_of_values(path.read_text())
    }
    assert found == set()


@pytest.mark.parametrize(
    "call",
    [
        "connection.execute(f\"SELECT * FROM orders WHERE symbol = '{symbol}'\")",
        'connection.exec_driver_sql("DELETE FROM " + table)',
        'text("SELECT %s" % name)',
        'cursor.executescript("DROP TABLE {}".format(name))',
    ],
)
def test_what_is_put_together_is_found(call: str) -> None:
    assert list(made_of_values(call))


def test_what_is_bound_is_not() -> None:
    assert not list(made_of_values('connection.execute(text("SELECT :name"), {"name": name})'))
