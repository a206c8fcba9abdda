from __future__ import annotations

import asyncio
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, assume, given, settings
from pydantic import SecretStr

import wxbridge
from tests.integration.web.web_harness import TOKEN, alone
from wxbridge.alerts.links import ALERT_PATH, SILENCE_PATH
from wxbridge.config.hooks import HookSettings
from wxbridge.core.sliding_window import Rate

AUTH = {"Authorization": f"Bearer {TOKEN}"}
DESCRIBED_ELSEWHERE = ("/compat/", "/console/", SILENCE_PATH, ALERT_PATH)
"""What speaks the languages of others, who describe them, and pages that people alone are led to."""
EXAMPLES = 6
"""Of each kind, for each operation."""


def served(app: web.Application) -> set[tuple[str, str]]:
    """Every method and path of the application. HEAD comes with each GET."""
    return {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
        and route.method != "HEAD"
        and not route.resource.canonical.startswith(DESCRIBED_ELSEWHERE)
    }


async def test_every_route_is_described_and_every_description_is_a_route(tmp_path: Path) -> None:
    async with alone(tmp_path) as server:
        assert (await server.ask("GET", "/api/openapi.json"))[0] == 401
        status, description = await server.ask("GET", "/api/openapi.json", headers=AUTH)
        assert status == 200
        assert description["info"]["version"] == wxbridge.__version__
        described = {(method, path) for path, methods in description["paths"].items() for method in methods}
        assert described == served(server.app)


async def test_every_operation_has_a_name_of_its_own_and_every_reference_leads_somewhere(tmp_path: Path) -> None:
    async with alone(tmp_path) as server:
        _, description = await server.ask("GET", "/api/openapi.json", headers=AUTH)
    names = [operation["operationId"] for methods in description["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
    text = json.dumps(description)
    used = {part.partition('"')[0] for part in text.split('"#/components/')[1:]}
    parts = description["components"]
    there = {f"{kind}/{name}" for kind in ("schemas", "responses") for name in parts[kind]}
    assert used == there


@pytest.mark.parametrize("is_well_formed", [True, False])
async def test_the_server_does_as_its_description_says(
    tmp_path: Path, is_well_formed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tester shows more wrong tokens than anybody may; what comes of that is another test's.
    monkeypatch.setattr("wxbridge.web.auth.MAX_WRONG_TOKENS", Rate(1_000_000, 300.0))
    hooks = {"grafana": HookSettings(hmac_secret=SecretStr("a-s3cret"))}
    async with alone(tmp_path, hooks=hooks) as server:
        _, description = await server.ask("GET", "/api/openapi.json", headers=AUTH)
        tried = await asyncio.to_thread(hold_to, description, server.url, is_well_formed)
        operations = sum(len(methods) for methods in description["paths"].values())
        assert len(tried) == (operations if is_well_formed else 2)
        assert server.refused("error") == 0


def hold_to(description: dict[str, Any], url: str, is_well_formed: bool) -> set[str]:
    """Have schemathesis ask for everything described, and check the answers; the operations that it tried."""
    # Here, so that only one of several processes that run tests loads it.
    import schemathesis
    from schemathesis.checks import CHECKS
    from schemathesis.generation import GenerationMode

    mode = GenerationMode.POSITIVE if is_well_formed else GenerationMode.NEGATIVE
    if not is_well_formed:
        description = without_forms(description)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        schema = schemathesis.openapi.from_dict(description)
    # A list that is too long may be too large a body as well, which is a refusal like others (RFC 9110, 15.5.14).
    schema.config.checks.negative_data_rejection.expected_statuses.append("413")
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        # A hook takes any body, and any text is a name.
        if not is_well_formed and not (operation.path.startswith("/api/") and operation.body):
            continue

        @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            # A parameter more than there are is no mistake.
            assume(is_well_formed or not case.query)
            # What is well-formed may still name a target or a silence that is not there, so only hooks take all.
            takes_all = case.path.startswith("/hooks/")
            case.call_and_validate(
                base_url=url,
                headers=AUTH,
                excluded_checks=[] if takes_all else CHECKS.get_by_names(["positive_data_acceptance"]),
            )
            tried.add(case.operation.label)

        ask()
    return tried


def without_forms(description: dict[str, Any]) -> dict[str, Any]:
    """What JSON bodies are asked to be: in a form everything is text, so hardly anything is of a wrong type."""
    changed = json.loads(json.dumps(description))
    for methods in changed["paths"].values():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {})
            for media in set(content) - {"application/json"}:
                del content[media]
    return changed
