"""jobs.yaml and the files that it includes → one tree of plain data, with the file and line of everything in it.

Variables (`${NAME}`, `${NAME:-default}`) are substituted in parsed values, never in the raw text: what
a variable holds cannot change the file's structure.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from wxbridge.config.slips import mend_slips
from wxbridge.core.errors import Problem
from wxbridge.core.text.normalise import replace_surrogates

TreePath = tuple[str | int, ...]
T = TypeVar("T")
"""Where something stands in the tree: keys and indices."""

MAX_INCLUDE_DEPTH = 8
"""Files that may include each other in a chain."""
MAX_ALIASED_VALUES = 200_000
"""In one file, that its aliases stand for: ten lines of them can be billions."""


class _Loader(yaml.SafeLoader):
    """YAML's core schema: `on`, `no`, `10:30` and dates stay the strings that people wrote."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?", "-0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))

_VARIABLE = re.compile(r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass
class _SourceFile:
    """One parsed file: the line of every path in it, and what is wrong."""

    file: str
    environment: Mapping[str, str]
    lines: dict[TreePath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    slips: list[Problem] = field(default_factory=list)
    """What was mistyped, and is mended in the data."""
    unread: set[TreePath] = field(default_factory=set)
    """Where the value is not known (an unset variable), so that nothing more can be said of it."""

    def add_problem(self, path: TreePath, text: str) -> None:
        """Add a problem at the nearest line known for a path."""
        self.problems.append(Problem(self.file, find_nearest(self.lines, path) or 1, text))

    def build(self, loader: _Loader, node: yaml.Node, path: TreePath = ()) -> Any:
        """Turn a node into plain data with variables substituted."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(loader, item, (*path, index)) for index, item in enumerate(node.value)]
        try:
            value = loader.construct_object(node)
        except (ValueError, LookupError, TypeError, AttributeError):
            self.unread.add(path)
            self.add_problem(path, f"cannot be read as {node.tag.rpartition(':')[2]}")
            return None
        return self._substitute(value, path) if isinstance(value, str) else value

    def _mapping(self, loader: _Loader, node: yaml.MappingNode, path: TreePath) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        written = [key.value for key in keys]
        for key in keys:
            if key.tag != "tag:yaml.org,2002:merge" and written.count(key.value) > 1:
                self.lines[(*path, key.value)] = key.start_mark.line + 1
        for name in sorted({name for name in written if written.count(name) > 1}):
            self.add_problem((*path, name), f"`{name}` stands here twice; keep one")
        loader.flatten_mapping(node)
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            # As it is written: `5:`, `true:` and `null:` are names too.
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(self.file, key_node.start_mark.line + 1, "a key must be a word"))
                continue
            word = replace_surrogates(str(key_node.value))
            self.lines[(*path, word)] = key_node.start_mark.line + 1
            result[word] = self.build(loader, value_node, (*path, word))
        return result

    def _substitute(self, text: str, path: TreePath) -> str:
        def value(match: re.Match[str]) -> str:
            escaped, name, default = match.groups()
            if escaped:
                return match[0][1:]
            found = self.environment.get(name)
            if found:
                return found
            if default is not None:
                return str(default)
            self.unread.add(path)
            self.add_problem(path, f"the variable {name} is not set; export it, or write ${{{name}:-default}}")
            return match[0]

        # JSON writes 🔥 as two halves, and JSON is YAML.
        return replace_surrogates(_VARIABLE.sub(value, text))


class _UnreadableFile(Exception):
    """A file that is no YAML or cannot be read: the line, and why."""

    def __init__(self, line: int, text: str, *, there: bool = True) -> None:
        super().__init__(text)
        self.line, self.text, self.there = line, text, there


def _count_values(node: yaml.Node, known: dict[int, int]) -> int:
    """Count what a node stands for with all its aliases; `known` are the nodes that were counted before, by `id`.

    Raises:
        RecursionError: an anchor holds itself, or it is nested too deeply.
        _UnreadableFile: aliases stand for more than is read.
    """
    if (count := known.get(id(node))) is not None:
        return count
    before = len(known)
    parts: Iterable[yaml.Node] = (
        itertools.chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode)
        else node.value if isinstance(node, yaml.SequenceNode)
        else ()
    )  # fmt: skip
    count = 1 + sum(_count_values(part, known) for part in parts)
    known[id(node)] = count
    if count - (len(known) - before) > MAX_ALIASED_VALUES:
        raise _UnreadableFile(node.start_mark.line + 1, f"has aliases for more than {MAX_ALIASED_VALUES} values")
    return count


_HINTS = {
    "mapping values are not allowed here": "; put quotes around a value with a colon in it, and indent alike what "
    "belongs together",
    "could not find expected ':'": "; write `key: value`, with a blank behind the colon",
}
"""What is to be said of PyYAML's own words, where they are no help."""


def _describe(error: yaml.MarkedYAMLError) -> str:
    hint = _HINTS.get(str(error.problem), "")
    if error.context == "while scanning an alias":
        hint = "; put quotes around a value that begins with a *"
    return f"is not YAML: {error.problem}{hint}"


def _parse(path: Path, environment: Mapping[str, str]) -> tuple[_SourceFile, Any]:
    """Parse one file; the data is None where nothing can be read but slips. Raises `_UnreadableFile`."""
    source = _SourceFile(str(path), environment)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _UnreadableFile(1, f"cannot be read: {error.strerror}", there=False) from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise _UnreadableFile(line, "is not UTF-8; save it as UTF-8") from None
    loader = None
    text, slips = mend_slips(text)
    source.slips = [Problem(str(path), slip.line, slip.text) for slip in slips]
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return source, {}
        _count_values(node, {})
        return source, source.build(loader, node)
    except yaml.MarkedYAMLError as error:
        if slips:
            return source, None
        mark = error.problem_mark or error.context_mark
        raise _UnreadableFile(mark.line + 1 if mark else 1, _describe(error)) from None
    except yaml.reader.ReaderError as error:
        raise _UnreadableFile(text[: error.position].count("\n") + 1, f"is not YAML: {error.reason}") from None
    except yaml.YAMLError as error:
        raise _UnreadableFile(1, f"is not YAML: {error}") from None
    except RecursionError:
        raise _UnreadableFile(1, "is nested too deeply, or an anchor holds itself") from None
    finally:
        if loader is not None:
            loader.dispose()


# ---------------------------------------------------------------- several files as one


@dataclass
class ConfigTree:
    """What the files say together: plain data, and where every path of it stands."""

    main: Path
    data: Any = None
    """None where the main file cannot be read."""
    lines: dict[TreePath, tuple[str, int]] = field(default_factory=dict)
    """File and line."""
    problems: list[Problem] = field(default_factory=list)
    slips: list[Problem] = field(default_factory=list)
    """What was mistyped, and is mended in the data."""
    unread: set[TreePath] = field(default_factory=set)
    """Where the value is not known (an unset variable), so that nothing more can be said of it."""
    files: list[Path] = field(default_factory=list)
    """Every file that belongs to it, also those that could not be read; the main one first."""
    patterns: list[str] = field(default_factory=list)
    """Those of `include`, as paths."""

    def add_problem(self, path: TreePath, text: str) -> None:
        """Add a problem at the nearest line known for a path."""
        file, line = find_nearest(self.lines, path) or (str(self.main), 1)
        self.problems.append(Problem(file, line, text))

    def list_problems(self) -> list[Problem]:
        """List all that is wrong; of a line in which something was mistyped, that alone."""
        places = {(slip.file, slip.line) for slip in self.slips}
        return [*self.slips, *(each for each in self.problems if (each.file, each.line) not in places)]

    def merge(self, source: _SourceFile, data: dict[str, Any]) -> None:
        """Add an included file: sections merge, lists are appended, and what is given twice is a problem."""
        for key, value in data.items():
            mine = self.data.get(key)
            if key == "include" or value is None:
                continue
            if mine is None:
                self.data[key] = value
                self._adopt_lines(source, (key,), (key,))
            elif isinstance(mine, dict) and isinstance(value, dict):
                for name in value:
                    if name in mine:
                        self._add_duplicate(source, (key, name))
                    else:
                        mine[name] = value[name]
                        self._adopt_lines(source, (key, name), (key, name))
            elif isinstance(mine, list) and isinstance(value, list):
                for index, item in enumerate(value):
                    self._adopt_lines(source, (key, index), (key, len(mine)))
                    mine.append(item)
            else:
                self._add_duplicate(source, (key,))

    def _adopt_lines(self, source: _SourceFile, old: TreePath, new: TreePath) -> None:
        """Take over the lines of what stood at a path of a file and stands at another of the tree."""
        depth = len(old)
        for path, line in source.lines.items():
            if path[:depth] == old:
                self.lines[(*new, *path[depth:])] = (source.file, line)
        self.unread |= {(*new, *path[depth:]) for path in source.unread if path[:depth] == old}

    def _add_duplicate(self, source: _SourceFile, path: TreePath) -> None:
        file, line = self.lines.get(path, (str(self.main), 1))
        name = ".".join(map(str, path))
        self.problems.append(
            Problem(source.file, source.lines.get(path, 1), f"`{name}` stands in {file}:{line} too; keep one")
        )


def read_tree(path: Path, environment: Mapping[str, str]) -> ConfigTree:
    """Read a file and, where it has `include`, those that it includes.

    Each file's own items come first, then those of what it includes, in the order of the names; what a pattern
    finds is sorted by name. What is wrong is in the tree's `problems`; this raises nothing.
    """
    tree = ConfigTree(path, files=[path])
    try:
        source, data = _parse(path, environment)
    except _UnreadableFile as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        hint = "; name one with -c FILE, or write one by `wxbridge init`" if missing else ""
        tree.problems.append(Problem(str(path), error.line, f"{error.text}{hint}"))
        return tree
    tree.problems += source.problems
    tree.slips += source.slips
    if data is None and source.slips:
        return tree
    tree.lines = {place: (source.file, line) for place, line in source.lines.items()}
    tree.unread = set(source.unread)
    if not isinstance(data, dict):
        tree.add_problem((), "the file must be a mapping, such as `targets: …`")
        return tree
    tree.data = data
    _include(tree, source, data, (path,))
    return tree


def _include(tree: ConfigTree, source: _SourceFile, data: dict[str, Any], chain: tuple[Path, ...]) -> None:
    """Take in what a file includes; `chain` are the files that led here, that one last."""
    for line, name in _list_includes(source, data):
        problem = _include_one(tree, source, line, name, chain)
        if problem:
            tree.problems.append(Problem(source.file, line, f"`include`: {problem}"))


def _include_one(tree: ConfigTree, source: _SourceFile, line: int, name: str, chain: tuple[Path, ...]) -> str | None:
    """Take in what one name means; tells what is wrong with it."""
    if not name.strip() or "\0" in name:
        return "write the name of a file, or a list of them"
    if len(chain) >= MAX_INCLUDE_DEPTH:
        return f"{name} would be number {MAX_INCLUDE_DEPTH + 1} in a chain of files; include it further up"
    for path in _find_files(tree, chain, name):
        if _is_in(path, chain):
            return f"a circle: {' → '.join(each.name for each in (*chain, path))}"
        if _is_in(path, tree.files):
            return f"{path} is included twice; keep one"
        tree.files.append(path)
        _merge_file(tree, path, source, line, chain)
    return None


def _merge_file(tree: ConfigTree, path: Path, above: _SourceFile, line: int, chain: tuple[Path, ...]) -> None:
    try:
        source, data = _parse(path, above.environment)
    except _UnreadableFile as error:
        text = f"`include`: {path} {error.text}"
        problem = Problem(str(path), error.line, error.text) if error.there else Problem(above.file, line, text)
        tree.problems.append(problem)
        return
    tree.problems += source.problems
    tree.slips += source.slips
    if data is None and source.slips:
        return
    if not isinstance(data, dict):
        tree.problems.append(Problem(source.file, 1, "the file must be a mapping, such as `targets: …`"))
        return
    tree.merge(source, data)
    _include(tree, source, data, (*chain, path))


def _list_includes(source: _SourceFile, data: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """The names in a file's `include`, each with its line; empty where it is none."""
    value = data.get("include")
    for index, name in enumerate(value if isinstance(value, list) else [value]):
        path: TreePath = ("include", index) if isinstance(value, list) else ("include",)
        if name is not None and path not in source.unread:
            is_word = isinstance(name, str | int) and not isinstance(name, bool)
            yield source.lines.get(path, 1), str(name) if is_word else ""


def _find_files(tree: ConfigTree, chain: tuple[Path, ...], name: str) -> list[Path]:
    """The files that a name or a pattern means; a pattern means none that is read already."""
    pattern = str(chain[-1].parent / os.path.expanduser(name))  # noqa: PTH111 - that of `Path` raises
    if not glob.has_magic(name):
        return [Path(pattern)]
    tree.patterns.append(pattern)
    found = [Path(each) for each in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 - `**` and absolute ones
    return [each for each in found if each.is_file() and not _is_in(each, tree.files)]


def _is_in(path: Path, files: tuple[Path, ...] | list[Path]) -> bool:
    return os.path.realpath(path) in map(os.path.realpath, files)


def find_nearest(lines: Mapping[TreePath, T], path: TreePath) -> T | None:
    """Find where a path stands, or else the nearest around it; None where not even the whole does."""
    return next((lines[path[:length]] for length in range(len(path), -1, -1) if path[:length] in lines), None)


def list_entries(section: Any) -> list[tuple[str | int, dict[str, Any]]]:
    """List the mappings in a section, each with its key or index; what is no mapping is told of elsewhere."""
    pairs = section.items() if isinstance(section, dict) else enumerate(section) if isinstance(section, list) else ()
    return [(key, value) for key, value in pairs if isinstance(value, dict)]
