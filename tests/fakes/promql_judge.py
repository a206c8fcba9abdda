"""How many expressions are drawn right, judged by a real Prometheus: `python -m tests.fakes.promql_judge`.

Each expression gets metrics of its own, with the labels that it asks for and random values. Where the rule fires, one
of its alerts (where it does not: one series of its curve) is taken, with labels that a rule and a server would add;
then what is chosen of the answers to the queries that would be asked has to be the alert's series and no other.
"""

from __future__ import annotations

import ast
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import promql_parser
from promql_parser import AggModifierType, AggregateExpr, BinaryExpr, Expr, MatchOp, VectorSelector

from tests.support import REPOSITORY, free_port
from wxbridge.monitors.promql import CurveRole, analyze_expression
from wxbridge.monitors.promql_syntax import ParsedExpression, parse_expression
from wxbridge.monitors.series_choice import choose_series

EXPRESSIONS = REPOSITORY / "tests" / "payloads" / "promql" / "alert_expressions.json"
ROUNDS = 4
"""How often an expression that gave nothing gets other random data."""
SAMPLES = range(82)
EVERY = 15
ADDED = {"alertname": "X", "severity": "critical", "of_the_server": "eu"}


_STRING = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`"
_NO_METRICS = (
    rf"{_STRING}|\{{(?:{_STRING}|[^}}])*\}}|(?i:\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\))"
)


def below(node: Expr) -> list[Expr]:
    found: list[Expr] = []
    promql_parser.walk(node, found.append)
    return found


def prepared(expr: str, prefix: str) -> tuple[str, list[str]]:
    """The expression with metrics of its own, and samples for them."""
    parsed = parse_expression(expr)
    nodes = below(parsed.tree)
    grouped = {parsed.resolve(name) for each in nodes for name in _grouped(each)} - {"__name__", "le"}
    metrics: dict[str, list[VectorSelector]] = {}
    for selector in reversed([each for each in nodes if isinstance(each, VectorSelector)]):
        if not selector.name:
            raise LookupError("its metrics are not named by their names")
        metrics.setdefault(selector.name, []).append(selector)
    named = "|".join(map(re.escape, metrics))
    expr = re.sub(
        rf"{_NO_METRICS}|(?<![\w:.])(?P<name>{named})(?![\w:(])",
        lambda match: prefix + match[0] if match["name"] else match[0],
        expr,
    )
    if "absent" in expr:
        return expr, []
    lines = []
    for name, of_metric in metrics.items():
        for labels in _labels(expr, name, _matchers(parsed, of_metric), sorted(grouped)):
            base, slope = (
                random.choice((0, 1, 2, 0.01, 0.5, 3, 90, 5000, 1e11)),
                random.choice((0, 0, 0.01, 1, 500, -1)),
            )
            if "le" in labels:
                base, slope = {"1": (1, 1), "10": (3, 3), "+Inf": (9, 9)}[labels["le"]]
            words = ",".join(f"{key}={json.dumps(value)}" for key, value in labels.items() if value)
            lines += [f"{prefix}{name}{{{words}}} {base + slope * n} @{EVERY * n}" for n in SAMPLES]
    return expr, lines


def _grouped(node: Expr) -> list[str]:
    if isinstance(node, AggregateExpr):
        by = node.modifier is not None and node.modifier.type == AggModifierType.By
        return list(node.modifier.labels) if by else []
    if not isinstance(node, BinaryExpr) or node.modifier is None:
        return []
    matching = node.modifier.matching
    return [*(matching.labels if matching is not None else ()), *(node.modifier.group_labels or ())]


def _matchers(parsed: ParsedExpression, selectors: list[VectorSelector]) -> list[tuple[str, str, str]]:
    """The name, operator and value of each."""
    words = ((MatchOp.Equal, "="), (MatchOp.NotEqual, "!="), (MatchOp.Re, "=~"), (MatchOp.NotRe, "!~"))
    return [
        (
            parsed.resolve(each.name),
            next(word for op, word in words if op == each.op),
            _unescaped(parsed, each.value),
        )
        for selector in selectors
        for each in selector.matchers.matchers
    ]


def _unescaped(parsed: ParsedExpression, value: str) -> str:
    literal = parsed.literals[int(value.strip("$"))]
    return literal[1:-1] if literal.startswith("`") else str(ast.literal_eval(literal))


def _labels(expr: str, name: str, matchers: list[tuple[str, str, str]], grouped: list[str]) -> list[dict[str, str]]:
    values = {label: ["x", "y"] if place < 3 else ["x"] for place, label in enumerate(grouped)}
    for label, op, value in matchers:
        wanted = {"=": value, "=~": _sample(value)}.get(op, "zz9")
        values[label] = sorted({*values.get(label, ()), wanted} - {"x", "y"})[:4]
    if "histogram_quantile" in expr and name.endswith("_bucket"):
        values["le"] = ["1", "10", "+Inf"]
    values["instance"] = ["a:1", "b:1", "c:1"]
    values.setdefault("job", ["job.1"])
    found: list[dict[str, str]] = [{}]
    for label, each in values.items():
        found = [{**labels, label: value} for labels in found for value in each][:60]
    return found


def _sample(pattern: str) -> str:
    """A text that a simple pattern matches."""
    first = re.sub(r"\(\?[:i]+", "(", pattern)
    for _ in range(9):
        first = re.sub(r"\(([^()|]*)(\|[^()]*)?\)", r"\1", first)
    first = re.sub(r"\[(.)[^\]]*\]", r"\1", first.split("|")[0])
    return re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)\.", "5", re.sub(r"[+*?^$]|\{\d.*?\}", "", first)))


def judged(expr: str, ask: Callable[[str], list[dict[str, str]]]) -> tuple[str, str]:
    """The verdict on one expression: `right`, `wrong` or why there is none; and what it was."""
    try:
        alerts = ask(expr)
        if not alerts:
            curve = analyze_expression(expr, {}).curves[0]
            alerts = [{k: v for k, v in each.items() if k in curve.scope} for each in ask(curve.query)]
    except ValueError as error:
        return "refused by Prometheus with this data", str(error)
    if not alerts:
        return "no data", ""
    wanted = {key: value for key, value in random.choice(alerts).items() if key != "__name__"}
    found = analyze_expression(expr, {**wanted, **ADDED})
    got, sure = [], True
    for curve in found.curves:
        if curve.role in (CurveRole.REFERENCE, CurveRole.VANISHED):
            continue
        series = ask(curve.query)
        choice = choose_series(curve, series, found.instances)
        sure &= not choice.note or not series
        got += [
            {key: value for key, value in series[place].items() if key != "__name__" and key in curve.scope}
            for place in choice.places
        ]
    right = bool(got) and all(each == wanted for each in got)
    kind = ("right" if sure else "right, by some of the labels") if right else "wrong"
    return kind if found.understood else "drawn whole", f"{wanted} {[curve.query for curve in found.curves]} {got[:3]}"


def expressions() -> list[str]:
    """The public ones."""
    return list(dict.fromkeys(json.loads(EXPRESSIONS.read_text(encoding="utf-8"))))


def rounds(given: list[str]) -> dict[str, tuple[str, str]]:
    """A verdict and its grounds for each expression."""
    random.seed(4)
    verdicts: dict[str, tuple[str, str]] = {}
    for number in range(ROUNDS):
        left = [expr for expr in given if verdicts.get(expr, ("no",))[0].startswith(("no", "refused"))]
        lines, own = [], {}
        for place, expr in enumerate(left):
            try:
                own[expr], more = prepared(expr, f"r{number}e{place}_")
                lines += more
            except LookupError as error:
                verdicts[expr] = ("not tried", str(error))
        with tempfile.TemporaryDirectory() as directory:
            verdicts |= answered(Path(directory), lines, own)
    return verdicts


def answered(directory: Path, lines: list[str], given: dict[str, str]) -> dict[str, tuple[str, str]]:
    """The verdicts on expressions, given with metrics of their own, over samples whose times are counted from 0."""
    now = int(time.time())
    start = now - SAMPLES.stop * EVERY
    lines = [f"{line} {start + int(at)}" for line, _, at in (each.rpartition(" @") for each in lines)]
    lines.sort(key=lambda line: line.partition("{")[0])
    (directory / "samples").write_text("\n".join([*lines, "# EOF\n"]), encoding="utf-8")
    (directory / "empty.yml").touch()
    create = ["promtool", "tsdb", "create-blocks-from", "openmetrics", directory / "samples", directory / "data"]
    subprocess.run(create, check=True, capture_output=True)
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        ["prometheus", f"--config.file={directory / 'empty.yml'}", f"--storage.tsdb.path={directory / 'data'}",
         f"--web.listen-address={url.removeprefix('http://')}"], stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def ask(query: str) -> list[dict[str, str]]:
        form = urllib.parse.urlencode({"query": query, "time": now - 15}).encode()
        try:
            with urllib.request.urlopen(f"{url}/api/v1/query", form) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()[:200]) from None
        return [each["metric"] for each in data["result"]] if data["resultType"] == "vector" else [{}]

    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{url}/-/ready").close()
                break
            except OSError:
                time.sleep(0.1)
        return {expr: judged(own, ask) for expr, own in given.items()}
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        sys.exit("needs Debian's package prometheus")
    given = expressions()
    verdicts = rounds(given)
    counts: dict[str, int] = {}
    for kind, _ in verdicts.values():
        counts[kind] = counts.get(kind, 0) + 1
    out = [f"{len(given)} expressions", *(f"{count:5} {kind}" for kind, count in sorted(counts.items()))]
    out += [f"{kind}: {expr}\n    {what}" for expr, (kind, what) in verdicts.items() if kind != "right"]
    sys.stdout.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
