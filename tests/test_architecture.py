"""The rules of the house that no single feature's tests would see broken."""

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Route as PlainRoute

from inventory_api.app import create_app
from inventory_api.http.route import Route
from inventory_api.settings import Settings
from tests.stores.servers import PROJECT

PACKAGE = PROJECT / "src" / "inventory_api"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = {str(path.relative_to(PACKAGE)): path.read_text() for path in MODULES}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
FEATURES = sorted(name.split("/")[0] for name in SOURCES if re.fullmatch(r"\w+/router\.py", name))

MAX_LINES = 400
LONGER_FOR_A_REASON = {
    "cli.py": "one function a command, each a few lines; a user reads --help, not this file",
    "demo/words.py": "lists of words, no logic",
    "stores/embedded.py": "two stores' life cycles and the flaws they mend, told in one place",
}


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 50
    assert {"categories", "products", "suppliers"} <= set(FEATURES)


# --- Imports ------------------------------------------------------------------------------------


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A copy of the source, to break rules in."""
    shutil.copytree(PACKAGE, tmp_path / "src" / "inventory_api")
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    return tmp_path


BREACHES = {
    "a package without a layer": ("newcomer/__init__.py", ""),
    "a lower layer asks a higher one": ("kit/clock.py", "import inventory_api.http.health"),
    "a feature asks its sibling": (
        "suppliers/errors.py",
        "import inventory_api.categories.errors",
    ),
    "a repository asks its router": (
        "categories/schemas.py",
        "import inventory_api.categories.repository",
    ),
    "a service speaks HTTP": ("products/service.py", "import fastapi"),
    "a model speaks HTTP": ("models/user.py", "import starlette.requests"),
}


class TestImports:
    def test_keep_the_contract(self) -> None:
        done = lint_imports(PROJECT)
        assert done.returncode == 0, done.stdout
        assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout)

    def test_the_copy_to_break_it_in_keeps_it(self, scratch: Path) -> None:
        assert lint_imports(scratch).returncode == 0

    @pytest.mark.parametrize("breach", BREACHES)
    def test_the_contract_sees(self, scratch: Path, breach: str) -> None:
        name, line = BREACHES[breach]
        path = scratch / "src" / "inventory_api" / name
        path.parent.mkdir(exist_ok=True)
        source = path.read_text() if path.exists() else '"""New."""\n'
        path.write_text(f"{source}\n{line}\n")
        done = lint_imports(scratch)
        assert done.returncode != 0
        assert re.search(r"Contracts: \d+ kept, 1 broken|Missing layers.*newcomer", done.stdout), (
            done.stdout + done.stderr
        )

    def test_every_feature_keeps_the_order_of_its_files(self) -> None:
        assert set(FEATURES) <= {
            name.rpartition(".")[2] for name in contract("features")["containers"]
        }

    def test_no_service_repository_model_or_kit_knows_the_framework(self) -> None:
        below = re.compile(r"(kit|models)/.*|\w+/\w*(service|repository)\.py")
        looked_at = [name for name in TREES if below.fullmatch(name)]
        assert len(looked_at) > 20
        frameworks = {
            name: found
            for name in looked_at
            if (found := set(imported(TREES[name])) & {"fastapi", "starlette"})
        }
        assert frameworks == {}

    def test_none_is_hidden_behind_type_checking(self) -> None:
        assert [name for name, source in SOURCES.items() if "TYPE_CHECKING" in source] == []


def contract(name: str) -> dict[str, Any]:
    linter = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]
    found: dict[str, Any] = next(each for each in linter["contracts"] if each["id"] == name)
    return found


def imported(tree: ast.Module) -> Iterator[str]:
    """The top-level packages that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


# --- Files --------------------------------------------------------------------------------------


class TestFiles:
    def test_init_files_are_empty(self) -> None:
        filled = [name for name in SOURCES if name.endswith("__init__.py") and SOURCES[name]]
        assert filled == ["models/__init__.py"]

    def test_names_say_what_is_inside(self) -> None:
        vague = {"utils", "util", "helpers", "helper", "constants", "common", "misc", "base_utils"}
        paths = [path for path in PROJECT.glob("tests/**/*.py")] + MODULES
        assert [path for path in paths if path.stem in vague] == []

    def test_stay_short(self) -> None:
        long = {name for name, source in SOURCES.items() if source.count("\n") > MAX_LINES}
        assert long == set(LONGER_FOR_A_REASON)

    def test_every_module_says_what_it_is_for(self) -> None:
        silent = [
            name
            for name, tree in TREES.items()
            if tree.body and ast.get_docstring(tree) is None and name != "__main__.py"
        ]
        assert silent == []

    def test_no_error_is_dropped_without_a_word(self) -> None:
        """A handler that does nothing says why, and never takes every exception."""
        dropped = []
        for name, tree in TREES.items():
            lines = SOURCES[name].splitlines()
            for node in ast.walk(tree):
                if not isinstance(node, ast.ExceptHandler):
                    continue
                if node.type is None:
                    dropped.append(f"{name}:{node.lineno} catches everything")
                elif all(isinstance(each, ast.Pass) for each in node.body):
                    everything = ast.unparse(node.type) in {"Exception", "BaseException"}
                    if everything or "#" not in lines[node.body[0].lineno - 1]:
                        dropped.append(f"{name}:{node.lineno} drops it")
        assert dropped == []

    def test_services_raise_no_http(self) -> None:
        raising = [
            name
            for name, source in SOURCES.items()
            if "HTTPException" in source and not name.startswith("http/")
        ]
        assert raising == []


# --- The application ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unopened() -> FastAPI:
    """The application; nothing is connected to anything."""
    return create_app(Settings(_env_file=None))


@pytest.fixture(scope="module")
def routes(unopened: FastAPI) -> list[Any]:
    """Every route with what its routers add. (`app.routes` itself holds no APIRoute.)"""
    routes = [
        context
        for context in iter_route_contexts(unopened.routes)
        if isinstance(context.original_route, APIRoute)
    ]
    assert len(routes) > 20
    return routes


def calls_of(dependant: Dependant) -> Iterator[Any]:
    if dependant.call is not None:
        yield dependant.call
    for dependency in dependant.dependencies:
        yield from calls_of(dependency)


def is_async(call: Any) -> bool:
    function = call if inspect.isroutine(call) else type(call).__call__
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


class TestApplication:
    def test_middleware_is_plain_asgi(self, unopened: FastAPI) -> None:
        assert unopened.user_middleware
        mentions = [name for name, source in SOURCES.items() if "BaseHTTPMiddleware" in source]
        assert mentions == []
        for middleware in unopened.user_middleware:
            names = [base.__name__ for base in inspect.getmro(middleware.cls)]  # type: ignore[arg-type]
            assert "BaseHTTPMiddleware" not in names

    def test_no_dependency_and_no_handler_takes_a_thread(self, routes: list[Any]) -> None:
        calls = {call for route in routes for call in calls_of(route.dependant)}
        assert len(calls) > 20
        assert [call for call in calls if not is_async(call)] == []

    def test_a_synchronous_dependency_would_be_seen(self) -> None:
        def synchronous() -> None: ...

        class Callable_:
            def __call__(self) -> None: ...

        assert not is_async(synchronous)
        assert not is_async(Callable_())

    def test_every_operation_can_be_run_again(self, routes: list[Any]) -> None:
        plain = [route.path for route in routes if not isinstance(route.original_route, Route)]
        assert plain == []

    def test_nothing_is_served_past_the_routers(self, unopened: FastAPI) -> None:
        others = [
            context.path
            for context in iter_route_contexts(unopened.routes)
            if isinstance(context.original_route, PlainRoute)
            and not isinstance(context.original_route, APIRoute)
        ]
        assert others == []

    def test_can_be_made_again_in_one_process(self, unopened: FastAPI) -> None:
        again = create_app(Settings(_env_file=None))
        assert again.openapi() == unopened.openapi()


# --- Settings -----------------------------------------------------------------------------------

EXAMPLE = PROJECT / ".env.example"


def documented() -> dict[str, str]:
    """The variables of `.env.example`, commented-out ones included."""
    pairs = re.findall(r"^#? ?([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    return dict(pairs)


class TestSettings:
    def test_each_is_in_the_example_and_nothing_else(self) -> None:
        assert sorted(documented()) == sorted(name.upper() for name in Settings.model_fields)

    def test_each_is_described_there(self) -> None:
        """By a comment above it, or above the variables that it stands with."""
        described = False
        for line in EXAMPLE.read_text().splitlines():
            if line.startswith("#"):
                described = True
            elif not line:
                described = False
            else:
                assert described, line

    def test_the_example_as_it_is_gives_the_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in documented():
            monkeypatch.delenv(name, raising=False)
        assert Settings(_env_file=EXAMPLE) == Settings(_env_file=None)
