"""The imports run one way (DESIGN.md); a wrong arrow is named with its file and line."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support import REPOSITORY

PACKAGE = REPOSITORY / "wxbridge"

LAYERS = [
    {"core"},
    {"config"},
    {"monitors"},
    {"alerts"},
    {"pictures"},
    {"delivery"},
    {"channels"},
    {"hosts"},
    {"jobs"},
    {"bot"},
    {"web"},
    {"app", "doctor", "parts", "registry"},
    {"__main__", "cli", "testing"},
]
"""The order of the packages: each imports those above it in this list, and none below."""
TOP = LAYERS[-1]
CHANNELS_MAY_IMPORT = {"core", "config"}
SIMULATOR = "simulator"

KNOWN_VIOLATIONS: dict[str, set[str]] = {}
"""What is still to be mended: module → modules of wxbridge that it must not import."""
KNOWN_CIRCLES: dict[str, set[str]] = {}
"""The same for imports that close a circle."""

HEAVY = ("alembic", "playwright", "wechaty")
"""What costs so much to import that it is imported where it is used. Prefixes of names."""
WECHATY = "wechaty"


@dataclass(frozen=True)
class Import:
    """One import of a module: where it stands, what it names, and whether it runs when the module is loaded."""

    file: Path
    line: int
    name: str
    at_load: bool

    @property
    def unit(self) -> str:
        """The part of wxbridge that the importing module belongs to."""
        return unit_of(self.file)

    @property
    def where(self) -> str:
        return f"{self.file.relative_to(PACKAGE.parent)}:{self.line}"


def unit_of(file: Path) -> str:
    relative = file.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def layer_of(unit: str) -> int:
    return next((index for index, layer in enumerate(LAYERS) if unit in layer), len(LAYERS))


def module_name(file: Path) -> str:
    """`alerts.routing` for wxbridge/alerts/routing.py."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def module_of(found: Import) -> str:
    """The module of wxbridge that an import means, for `from wxbridge.a import b` either `a.b` or `a`."""
    inner = found.name.split(".")[1:]
    path = PACKAGE.joinpath(*inner)
    if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
        return ".".join(inner)
    return ".".join(inner[:-1])


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imports_of(file: Path) -> Iterator[Import]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    package = [PACKAGE.name, *file.relative_to(PACKAGE).parent.parts]

    def visit(node: ast.AST, *, at_load: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, at_load)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                yield Import(file, node.lineno, ".".join([*base, alias.name]), at_load)
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        inner = at_load and not typing_only and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_load=inner)

    yield from visit(tree, at_load=True)


@cache
def all_imports() -> tuple[Import, ...]:
    return tuple(found for file in modules() for found in imports_of(file))


def inner_arrows() -> Iterator[tuple[Import, str]]:
    """Every import of one part of wxbridge by another: (the import, the part that it names)."""
    known = set().union(*LAYERS) | {SIMULATOR}
    for found in all_imports():
        parts = found.name.split(".")
        # `from wxbridge import __version__` names the package, which belongs to everybody.
        if parts[0] == PACKAGE.name and len(parts) > 1 and parts[1] in known and parts[1] != found.unit:
            yield found, parts[1]


def test_every_module_has_its_place_in_the_layers() -> None:
    homeless = sorted({unit_of(file) for file in modules()} - set().union(*LAYERS) - {SIMULATOR})
    assert not homeless, f"say in tests/test_architecture.py which layer these belong to: {', '.join(homeless)}"


def is_wrong(found: Import, unit: str) -> bool:
    """Whether an import of another package goes against the order."""
    if SIMULATOR in (found.unit, unit):
        return False
    if found.unit == "channels" and unit not in CHANNELS_MAY_IMPORT:
        return True
    return layer_of(unit) > layer_of(found.unit)


def test_imports_run_one_way_from_the_command_line_down_to_the_core() -> None:
    wrong = [
        f"{found.where}: {found.unit} imports {unit}, which stands above it"
        for found, unit in inner_arrows()
        if is_wrong(found, unit) and module_of(found) not in KNOWN_VIOLATIONS.get(module_name(found.file), ())
    ]
    assert not wrong, "\n".join(wrong)


def test_no_known_violation_is_kept_that_was_mended() -> None:
    there = {(module_name(found.file), module_of(found)) for found, unit in inner_arrows() if is_wrong(found, unit)}
    kept = {(module, other) for module, others in KNOWN_VIOLATIONS.items() for other in others}
    assert not kept - there, f"take these out of KNOWN_VIOLATIONS: {sorted(kept - there)}"


def test_no_modules_import_each_other_in_a_circle_also_not_inside_a_package_or_a_function() -> None:
    graph = {module_name(file): set[str]() for file in modules()}
    for found in all_imports():
        if found.name.startswith(PACKAGE.name) and (target := module_of(found)) != module_name(found.file):
            graph[module_name(found.file)].add(target)
    for module, others in KNOWN_CIRCLES.items():
        graph[module] -= others
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' → '.join(reversed(error.args[1]))}")


def test_only_the_command_line_starts_the_simulator_which_knows_nothing_of_the_bridge() -> None:
    wrong = [
        f"{found.where}: {found.unit} imports {unit}"
        for found, unit in inner_arrows()
        if found.unit == SIMULATOR or (unit == SIMULATOR and found.unit not in TOP)
    ]
    assert not wrong, "\n".join(wrong)


def test_wechaty_is_imported_in_its_channel_only() -> None:
    wrong = [
        f"{found.where}: imports {found.name}"
        for found in all_imports()
        if found.name.startswith(WECHATY)
        and not found.file.is_relative_to(PACKAGE / "channels" / "wechat")
        and not (found.unit == SIMULATOR and found.name.split(".")[0] == "wechaty_grpc")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_model_needs_the_standard_library_only() -> None:
    foreign = {
        f"{found.where}: imports {found.name}"
        for found in all_imports()
        if module_name(found.file) == "core.model" and found.name.split(".")[0] not in sys.stdlib_module_names
    }
    assert not foreign, "\n".join(sorted(foreign))


PURE = ("alerts.sources", "alerts.routing", "alerts.render", "alerts.alert_text", "core.text", "core.matchers")
"""What does no I/O. Prefixes of names of modules."""


def test_routing_rendering_and_parsing_do_no_io() -> None:
    outside = {"aiohttp", "asyncio", "os", "pathlib", "socket", "sqlalchemy", "subprocess"}
    wrong = [
        f"{found.where}: {module_name(found.file)} is pure, but imports {found.name}"
        for found in all_imports()
        if module_name(found.file).startswith(PURE) and found.name.split(".")[0] in outside
    ]
    assert not wrong, "\n".join(wrong)


def test_heavy_libraries_are_imported_where_they_are_used_not_where_a_module_begins() -> None:
    # Alembic's own files and the inside of the channel are themselves loaded late; the next test proves it.
    late = (PACKAGE / "core" / "migrations", PACKAGE / "channels" / "wechat", PACKAGE / SIMULATOR)
    wrong = [
        f"{found.where}: imports {found.name} at the top; import it in the function that needs it"
        for found in all_imports()
        if found.at_load and found.name.startswith(HEAVY) and not any(map(found.file.is_relative_to, late))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", ["wxbridge.app", "wxbridge.cli.commands"])
def test_starting_up_loads_no_heavy_library(module: str) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    # Isolated: a debugger's or coverage's own imports are not ours.
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    loaded = [name for name in json.loads(done.stdout) if name.startswith(HEAVY)]
    assert not loaded, f"importing {module} also loads {', '.join(loaded[:5])}"


def test_each_import_of_a_test_source_is_seen_with_its_line_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "wxbridge"
    (package / "web").mkdir(parents=True)
    file = package / "web" / "a.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nfrom .. import jobs\nfrom . import auth\n"
        "if TYPE_CHECKING:\n    import playwright\ndef f():\n    from wxbridge.delivery import x\n",
    )
    monkeypatch.setitem(globals(), "PACKAGE", package)
    assert [(found.line, found.name, found.at_load) for found in imports_of(file)] == [
        (1, "typing.TYPE_CHECKING", True),
        (2, "wxbridge.jobs", True),
        (3, "wxbridge.web.auth", True),
        (5, "playwright", False),
        (7, "wxbridge.delivery.x", False),
    ]
