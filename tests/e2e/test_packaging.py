"""What people get: the wheel, the Makefile, the image, the compose example, the unit."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.support import REPOSITORY
from wxbridge import registry
from wxbridge.config.schema import load

ROOT = REPOSITORY
DEPLOY = ROOT / "deploy"


def _run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # What the `make test` around this was told (ARGS, VENV, …) is not for the make that is tried.
    inherited = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "ARGS"}}
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=inherited | environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


# ---------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    # The build backend itself, from the dev group: no network, no isolated environment.
    built = _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory)
    assert built.returncode == 0, built.stderr
    (path,) = directory.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_what_is_no_python_too(wheel):
    names = set(wheel.namelist())
    for name in (
        "jobs.yaml", "py.typed", "core/migrations/env.py", "core/migrations/script.py.mako",
        "core/migrations/versions/0001_first.py", "core/text/catalogue/en.toml", "core/text/catalogue/zh.toml",
        "core/migrations/versions/0002_console.py", "web/openapi.yaml",
    ):  # fmt: skip
        assert f"wxbridge/{name}" in names
    assert wheel.read("wxbridge/jobs.yaml") == (ROOT / "jobs.yaml").read_bytes()


def test_the_wheel_holds_every_file_of_the_package(wheel):
    package = ROOT / "wxbridge"
    here = {
        f"wxbridge/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
    }
    assert any(name.startswith("wxbridge/simulator/static/") for name in here)
    assert here - set(wheel.namelist()) == set()


def test_the_wheel_holds_nothing_else(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert len(tops) == 2
    assert "wxbridge" in tops


def test_the_wheel_brings_the_command(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "wxbridge = wxbridge.cli:main" in wheel.read(name).decode()


def test_the_distribution_has_a_name_of_its_own_wherever_one_could_type_it(wheel):
    """`wxbridge` on PyPI is another project's: nobody may be told to install that."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        name = tomllib.load(file)["project"]["name"]
    assert name == "wxbridge-monitoring"
    metadata = next(each for each in wheel.namelist() if each.endswith("METADATA"))
    assert f"Name: {name}\n" in wheel.read(metadata).decode()
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "wxbridge").rglob("*.py"), *DEPLOY.rglob("*"),
             *(ROOT / "tests").rglob("*.py"), ROOT / "Dockerfile"]  # fmt: skip
    for page in pages:
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        for typed in re.findall(r"pip3? install [^`\n]*", text):
            assert not re.search(r"(?<![\w./-])wxbridge(?![\w/-])", typed), f"{page}: {typed}"


def test_the_wheel_runs_where_it_is_installed(wheel, tmp_path):
    site = tmp_path / "site"
    wheel.extractall(site)
    # Without this checkout: what is imported is the wheel's.
    code = (
        "import sys, wxbridge; print(wxbridge.__file__); sys.argv = ['wxbridge', 'schema']\n"
        "from wxbridge.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site))
    assert json.loads(done.stdout.partition("\n")[2])["title"] == "wxbridge jobs.yaml"


# ---------------------------------------------------------------- make


def test_make_dist_builds_both_archives(tmp_path):
    shutil.copytree(ROOT, tmp_path / "checkout", ignore=shutil.ignore_patterns(".git", ".venv", "state", "res", "dist"))
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    for stamp in (".pip", ".installed", ".installed-dev"):
        (venv / stamp).touch()
    os.utime(tmp_path / "checkout" / "pyproject.toml", (0, 0))
    # A venv of ours is one by its configuration, which is not beside the link.
    environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if "site-packages" in path)}
    made = subprocess.run(
        ["make", "-C", str(tmp_path / "checkout"), "dist", f"VENV={venv}"], env={**os.environ, **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    names = sorted(path.name for path in (tmp_path / "checkout" / "dist").iterdir())
    assert [name.partition("-")[0] for name in names] == ["wxbridge_monitoring"] * 2
    assert {Path(name).suffix for name in names} == {".whl", ".gz"}


def test_make_image_builds_with_what_is_there_and_the_mirrors_that_one_names(tmp_path):
    fake, docker = tmp_path / "podman", tmp_path / "docker"
    for builder in (fake, docker):
        builder.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n', encoding="utf-8")
        builder.chmod(0o755)
    mirrors = ["PIP_INDEX_URL=https://mirror.example.com/simple", "DEBIAN_MIRROR=http://mirror.example.com/debian"]
    words = _run("make", "-s", "image", f"DOCKER={fake}", "IMAGE=x/wxbridge:1", *mirrors).stdout.splitlines()
    assert words[:3] == ["build", "-t", "x/wxbridge:1"]
    assert {*mirrors} <= {*words}
    assert words[-1] == "."
    plain = _run("make", "-s", "image", f"DOCKER={docker}", PIP_INDEX_URL="").stdout.splitlines()
    assert plain == ["build", "-t", "wxbridge", "."]
    kept = _run("make", "-s", "image", f"DOCKER={fake}", PIP_INDEX_URL="").stdout.splitlines()
    assert kept == ["build", "-t", "wxbridge", "--format", "docker", "."], "else the image has no health check"
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "ARG PIP_INDEX_URL=\n" in dockerfile, "we name none"
    assert dockerfile.count("ARG DEBIAN_MIRROR=\n") == 2


# ---------------------------------------------------------------- Kubernetes


def test_the_manifests_pass_a_linter():
    rules = "{extends: default, rules: {line-length: {max: 130}, document-start: disable, truthy: disable, comments: "
    rules += "{min-spaces-from-content: 1}, braces: {max-spaces-inside: 1}, comments-indentation: disable}}"
    files = [ROOT / "compose.yaml", *sorted(DEPLOY.glob("*.y*ml"))]
    linted = _run(sys.executable, "-m", "yamllint", "-d", rules, *files)
    assert linted.returncode == 0, linted.stdout


def test_the_kubernetes_manifest_hangs_together(tmp_path):
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))
    by_kind = {each["kind"]: each for each in documents}
    assert all(each["metadata"]["name"] == "wxbridge" and each["apiVersion"] for each in documents)
    deployment = by_kind["Deployment"]["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    assert by_kind["Service"]["spec"]["selector"].items() <= labels.items()
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (1, "Recreate")
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    assert pod["securityContext"]["runAsUser"] == 10001
    assert {container[f"{name}Probe"]["httpGet"]["path"] for name in ("liveness", "readiness")} == {
        "/healthz",
        "/readyz",
    }
    path = tmp_path / "jobs.yaml"
    path.write_text(by_kind["ConfigMap"]["data"]["jobs.yaml"], encoding="utf-8")
    secrets = dict.fromkeys(
        re.findall(r"from-literal=(\w+)", (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")), "x"
    )
    assert load(path, registry.plugin_settings(), secrets).server.host == "0.0.0.0"


def _targets():
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_has_its_targets():
    assert {"demo", "test", "check", "bench", "fmt", "dist", "image", "clean", "help"} <= _targets()


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_alone_lists_the_targets():
    listed = _run("make").stdout
    for name in ("demo", "test", "check", "bench", "fmt", "clean"):
        assert f"make {name} " in listed


@pytest.mark.parametrize("name", [".ci/run", "scripts/find-python", "scripts/ensure-browser"])
def test_scripts_can_be_executed(name):
    path = ROOT / name
    assert path.stat().st_mode & stat.S_IXUSR
    shell = path.read_text().splitlines()[0].rpartition("/")[2].split()[-1]
    assert _run(shell, "-n", path).returncode == 0


def test_ci_runs_make_and_nothing_else():
    lines = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "make check", "make test"]


def _fake_python(directory, name, version, *, venv=True):
    """A command that answers as a Python of that version does; without a version it is a shim that fails."""
    path = directory / name
    if version is None:
        path.write_text("#!/bin/sh\necho not installed >&2\nexit 127\n")
    else:
        body = "import sys, types\n"
        body += f"sys.version_info = {version!r}\n"
        body += f"if sys.argv[1] == '--version':\n    sys.exit(print('Python', '{'.'.join(map(str, version))}'))\n"
        body += "" if venv else "sys.modules['ensurepip'] = None\n"
        body += "exec(sys.argv[2])\n"
        path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o755)


def _find(directory, *arguments):
    names = "python3.11 python3.12 python3.13 python3"
    return subprocess.run(
        ["/bin/sh", ROOT / "scripts/find-python", *arguments], env={"PATH": str(directory), "CANDIDATES": names},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_python_is_found_that_runs(tmp_path):
    _fake_python(tmp_path, "python3.11", None)
    _fake_python(tmp_path, "python3.12", (3, 12, 1))
    assert _find(tmp_path).stdout.strip() == "python3.12"


def test_a_python_that_is_too_old_or_too_new_is_passed_over(tmp_path):
    _fake_python(tmp_path, "python3", (3, 10, 1))
    assert "No Python 3.11, 3.12 or 3.13" in _find(tmp_path).stderr
    _fake_python(tmp_path, "python3", (3, 14, 0))
    assert _find(tmp_path).returncode == 1


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("version", [(3, 9, 18), (3, 14, 0)])
def test_make_stops_at_a_venv_of_a_python_that_is_too_old_or_too_new(tmp_path, version):
    (tmp_path / "bin").mkdir()
    _fake_python(tmp_path / "bin", "python", version)
    stopped = _run("make", "demo", f"VENV={tmp_path}")
    assert stopped.returncode == 2
    written = ".".join(map(str, version))
    assert f"{tmp_path} has Python {written}, and wxbridge needs 3.11 to 3.13:" in stopped.stdout
    assert "remove it (make clean), or take another folder: make VENV=venv …" in stopped.stdout
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bin"], "nothing was installed"


def test_a_python_without_venv_is_told_with_the_line_that_mends_it(tmp_path):
    _fake_python(tmp_path, "python3", (3, 13, 2), venv=False)
    told = _find(tmp_path)
    assert told.returncode == 1
    assert "apt-get install python3.13-venv" in told.stderr


def test_a_python_that_was_named_is_taken_or_refused(tmp_path):
    _fake_python(tmp_path, "python3.11", (3, 11, 2))
    _fake_python(tmp_path, "mine", (3, 13, 0))
    _fake_python(tmp_path, "old", (3, 9, 0))
    assert _find(tmp_path, "mine").stdout.strip() == "mine"
    assert "old is no Python 3.11" in _find(tmp_path, "old").stderr


# ---------------------------------------------------------------- the image


def _dockerfile():
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def test_the_image_is_debians_and_runs_as_nobody_special_under_an_init():
    steps = _dockerfile()
    said = dict(steps)  # the last of each
    assert {value.split()[0] for step, value in steps if step == "FROM"} == {"debian:trixie-slim"}
    assert json.loads(said["ENTRYPOINT"])[0].endswith("tini")
    assert said["USER"].split(":")[0].isdigit()
    assert said["USER"] != "0:0"
    assert said["VOLUME"] == "/var/lib/wxbridge"
    assert "WXBRIDGE_CONFIG=/etc/wxbridge/jobs.yaml" in said["ENV"]
    assert "/healthcheck.py" in said["HEALTHCHECK"]
    installed = next(value for step, value in reversed(steps) if step == "RUN")
    for package in ("chromium-headless-shell", "fonts-wqy-microhei", "nodejs", "tini"):
        assert package in installed


def test_what_the_image_copies_is_there_and_not_ignored():
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for step, value in _dockerfile():
        if step == "COPY" and not value.startswith("--from"):
            for source in value.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert any(source == name or source.startswith(name + "/") for name in allowed), source


def test_the_health_check_tells_whether_the_bridge_answers():
    script = DEPLOY / "healthcheck.py"
    nobody = _run(sys.executable, script, WXBRIDGE_LISTEN="0.0.0.0:9")
    assert nobody.returncode == 1
    assert "no answer on port 9" in nobody.stderr


# ---------------------------------------------------------------- compose


VARIABLES = {
    "WXBRIDGE_TOKEN": "token-of-the-bridge",
    "WECHATY_PUPPET_SERVICE_TOKEN": "insecure_00000000-0000-4000-8000-000000000000",
    "GRAFANA_PASSWORD": "secret",
}


def _compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def _check(**environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WX", "WECHAT", "GRAFANA"))}
    return subprocess.run(
        [sys.executable, "-m", "wxbridge", "check", "-c", DEPLOY / "jobs.yaml"], cwd=ROOT, env={**clean, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_jobs_of_compose_pass_check():
    checked = _check(**VARIABLES)
    assert checked.returncode == 0, checked.stderr


def test_the_jobs_of_compose_name_the_secret_that_is_not_set():
    checked = _check(**{name: value for name, value in VARIABLES.items() if name != "GRAFANA_PASSWORD"})
    assert checked.returncode == 2
    assert "GRAFANA_PASSWORD" in checked.stderr


def test_compose_hands_the_bridge_every_variable_it_must_have():
    given = set(_compose()["services"]["wxbridge"]["environment"])
    wanted = set(re.findall(r"\$\{([A-Z_]+)\}", (DEPLOY / "jobs.yaml").read_text()))
    assert wanted <= given


def test_compose_documents_every_variable_it_reads():
    text = (ROOT / "compose.yaml").read_text()
    head, _, body = text.partition("\nservices:")
    body = re.sub(r"#.*", "", body)
    documented = set(re.findall(r"^#\s+([A-Z_]+)=", head, re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_]+)", body)) | {"COMPOSE_PROFILES"} == documented


def test_compose_mounts_files_that_exist_and_volumes_that_are_declared():
    compose = _compose()
    for service in compose["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"], mount
        assert set(service.get("secrets", [])) <= set(compose["secrets"])


def test_compose_publishes_on_loopback_only_and_the_gateway_nowhere():
    services = _compose()["services"]
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
    assert "ports" not in services["gateway"]
    assert services["gateway"]["environment"]["WECHATY_PUPPET_SERVICE_NO_TLS_INSECURE_SERVER"] == "true"


def test_no_secret_stands_in_the_example():
    secret = re.compile(r"""^\s*"?(\w*(?:token|password|credentials))"?\s*[:=]\s*(.+)$""", re.MULTILINE | re.IGNORECASE)
    for path in (ROOT / "compose.yaml", *(p for p in DEPLOY.rglob("*") if p.is_file())):
        for key, value in secret.findall(path.read_text()):
            assert value.lstrip("\"'{ ").startswith(("$", "environment", "false")), f"{path.name}: {key}"


def test_grafana_is_told_of_prometheus_the_hook_and_the_dashboard():
    provisioning = DEPLOY / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    alerting = yaml.safe_load((provisioning / "alerting/wxbridge.yaml").read_text())
    (receiver,) = alerting["contactPoints"][0]["receivers"]
    assert receiver["settings"]["url"] == "http://wxbridge:8080/hooks/grafana"
    assert receiver["settings"]["authorization_credentials"] == "$WXBRIDGE_TOKEN"
    assert "WXBRIDGE_TOKEN" in _compose()["services"]["grafana"]["environment"]
    assert alerting["policies"][0]["receiver"] == alerting["contactPoints"][0]["name"]
    dashboard = json.loads((DEPLOY / "grafana/wxbridge.json").read_text())
    asked = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel}
    assert asked <= {source["uid"], "${datasource}"}  # a variable, which takes the default data source
    assert source["isDefault"]
    assert f"/d/{dashboard['uid']}/" in (DEPLOY / "jobs.yaml").read_text()


def test_rules_and_dashboard_ask_for_figures_that_there_are():
    code = "".join(path.read_text() for path in (ROOT / "wxbridge").rglob("metrics.py"))
    there = set(re.findall(r'"(wxbridge_[a-z_]+)"', code))
    asked = set()
    for path in (DEPLOY / "alerts.yml", DEPLOY / "grafana/wxbridge.json"):
        asked |= set(re.findall(r"\b(wxbridge_[a-z_]+)", path.read_text()))
    assert asked
    assert {re.sub(r"_(total|bucket|sum|count|info)$", "", name) for name in asked} <= there


# ---------------------------------------------------------------- systemd


def test_the_unit_leaves_chromium_room_to_live():
    unit = (DEPLOY / "wxbridge.service").read_text()
    said = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    assert "MemoryDenyWriteExecute" not in said  # V8 compiles at run time
    assert {"user", "pid", "net"} <= set(said["RestrictNamespaces"].split())
    assert said["Restart"] == "always"
    assert said["StateDirectory"] == "wxbridge"
    assert said["RestartPreventExitStatus"] == "2"
