# ruff: noqa: INP001 - a script, in no package
"""Draws docs/architecture.svg from the imports of the code: `python docs/make_architecture.py`.

A box is a package (or a module at the root) of `wxbridge/`, with the modules in it. An arrow says "imports"; what a
package reaches through another package as well is left out, so that the picture shows the order and not every line.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "wxbridge"
PICTURE = ROOT / "docs" / "architecture.svg"

WIDTH, BOX_WIDTH, GAP, ROW_GAP, LINE_HEIGHT, PADDING = 1180, 270, 30, 44, 15, 10
"""Pixels."""
LINE_LENGTH = 37
"""Characters of a box's second and further lines."""

_TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#667"/></marker>'
)

Graph = Mapping[str, set[str]]


def packages() -> dict[str, list[str]]:
    """Return what stands at the root of wxbridge/ → the names of what is in it (modules, and packages with a slash)."""
    found: dict[str, list[str]] = {}
    for entry in sorted(PACKAGE.iterdir()):
        if entry.name.startswith(("_", ".")):
            continue
        if entry.suffix == ".py":
            found[entry.name] = []
        elif (entry / "__init__.py").is_file():
            inner = [path for path in entry.iterdir() if not path.name.startswith(("_", "."))]
            files = sorted(path.stem for path in inner if path.suffix == ".py")
            found[f"{entry.name}/"] = files + sorted(
                f"{path.name}/" for path in inner if (path / "__init__.py").is_file()
            )
    return found


def imports(names: Sequence[str]) -> Graph:
    """Return which of these import which other, also inside functions."""
    by_unit = {name.removesuffix("/").removesuffix(".py"): name for name in names}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for path in PACKAGE.rglob("*.py"):
        unit = by_unit.get(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
        if unit is None:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE.name:
                inner = node.module.split(".")[1:]
                words = inner[:1] or [alias.name for alias in node.names]
                graph[unit] |= {by_unit[word] for word in words if word in by_unit} - {unit}
    return graph


def without_shortcuts(graph: Graph) -> Graph:
    """Return the graph without the arrows that a longer way says too."""

    def reach(start: str) -> set[str]:
        found: set[str] = set()
        ahead = [start]
        while ahead:
            for name in graph[ahead.pop()] - found:
                found.add(name)
                ahead.append(name)
        return found

    return {
        name: {to for to in tos if not any(to in reach(other) for other in tos - {to})} for name, tos in graph.items()
    }


def rows_of(graph: Graph) -> list[list[str]]:
    """Return the names in rows: each imports only names of rows below its own."""
    depth: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        depth[name] = max((depth[to] + 1 for to in graph[name]), default=0)
    rows: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name, row in depth.items():
        rows[row].append(name)
    return [sorted(row) for row in reversed(rows)]


def wrapped(words: Sequence[str]) -> list[str]:
    """Return the words in lines of at most `LINE_LENGTH` characters."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 1 > LINE_LENGTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [line for line in lines if line]


def svg() -> str:
    """Return the whole picture."""
    inside = packages()
    graph = imports(list(inside))
    boxes: dict[str, tuple[float, float, float, list[str]]] = {}
    y = 20.0
    for row in rows_of(graph):
        texts = {name: wrapped(inside[name]) for name in row}
        height = max(len(lines) for lines in texts.values()) * LINE_HEIGHT + 2 * PADDING + 16
        left = (WIDTH - len(row) * BOX_WIDTH - (len(row) - 1) * GAP) / 2
        for place, name in enumerate(row):
            boxes[name] = (left + place * (BOX_WIDTH + GAP), y, height, texts[name])
        y += height + ROW_GAP
    arrows = [(name, to) for name, tos in sorted(without_shortcuts(graph).items()) for to in sorted(tos)]
    size = f'width="{WIDTH}" height="{y:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        f"<defs>{_TIP}</defs>",
        f'<rect {size} fill="#fff"/>',
    ]
    parts += [_arrow(boxes[name], boxes[to]) for name, to in arrows]
    parts += [_box(name, *box) for name, box in boxes.items()]
    return "\n".join([*parts, "</svg>\n"])


def _arrow(above: tuple[float, float, float, list[str]], below: tuple[float, float, float, list[str]]) -> str:
    from_x, from_y = above[0] + BOX_WIDTH / 2, above[1] + above[2]
    to_x, to_y = below[0] + BOX_WIDTH / 2, below[1] - 2
    bend = (to_y - from_y) / 2
    points = ((from_x, from_y + bend), (to_x, to_y - bend), (to_x, to_y))
    curve = f"M{from_x:.0f} {from_y:.0f}C" + " ".join(f"{x:.0f} {y:.0f}" for x, y in points)
    return f'<path d="{curve}" fill="none" stroke="#99a" marker-end="url(#tip)"/>'


def _box(name: str, x: float, y: float, height: float, lines: Sequence[str]) -> str:
    parts = [
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX_WIDTH}" height="{height}" rx="6" fill="#f4f6fb" stroke="#667"/>',
        f'<text x="{x + PADDING:.0f}" y="{y + PADDING + 12:.0f}" font-weight="bold">{escape(name)}</text>',
    ]
    for place, line in enumerate(lines, start=1):
        below = y + PADDING + 14 + place * LINE_HEIGHT
        parts.append(f'<text x="{x + PADDING:.0f}" y="{below:.0f}" fill="#445">{escape(line)}</text>')
    return "\n".join(parts)


def main() -> int:
    """Write the picture; with `--check` only say whether the one there is the code's."""
    if "--check" in sys.argv[1:]:
        return int(PICTURE.read_text(encoding="utf-8") != svg())
    PICTURE.write_text(svg(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
