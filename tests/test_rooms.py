"""The rooms of docs/architecture.md: who may import whom, which library stays where, and what a start imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "glimp_local"
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")

FACADES = {"__init__"}
"""Stands on no floor: it imports a public name when that is first used."""

CYCLES: dict[frozenset[str], str] = {
    frozenset({"tui/app", "tui/commands", "tui/palette"}): "for types alone: the palette calls what the app can do",
    frozenset({"engines/llama/backend", "engines/llama/lane"}): "for types alone: a backend makes its lanes",
    frozenset(
        {"engines/remote/backend", "engines/remote/lane", "engines/remote/requests"}
    ): "for types alone: a backend makes its lanes, and these their requests",
}
"""Modules of one room that import one another, and why."""


class Import(NamedTuple):
    """One module imports another one, or a library."""

    user: str
    used: str


@cache
def modules() -> dict[str, Path]:
    """All modules of the package: `cli/run_bench`, and `cli` for a room's own."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found["/".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


@cache
def classes() -> dict[str, set[str]]:
    """All classes, with the names of their methods."""
    return {
        node.name: {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in modules().items()}


@cache
def imports() -> list[Import]:
    """All imports, within functions and for types alone, too; those of a module's names count as of the module."""
    found, known = [], modules()
    for user, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                used = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{user}: imports say the whole name"
                assert node.module is not None
                used = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in used:
                inside = name.removeprefix("glimp_local.").replace(".", "/")
                if not f"{name}.".startswith("glimp_local."):
                    found.append(Import(user, name.partition(".")[0]))
                elif inside in known:
                    found.append(Import(user, inside))
                else:
                    module = inside.rpartition("/")[0] if "." in name.removeprefix("glimp_local.") else "__init__"
                    assert module in known, f"{user} imports {name}"
                    found.append(Import(user, module))
    return found


def own_imports() -> list[Import]:
    return [found for found in imports() if found.used in modules()]


@cache
def floors() -> list[list[str]]:
    """The rooms of the drawing, from the top floor down; the last lines without a folder are the ground floor."""
    drawing = PAGE.partition("## Rooms")[2].split("```")[1].strip().splitlines()
    rooms = [re.findall(r"([a-z_/]+)(?:/|\.py)(?=\s|$)", line) for line in drawing]
    ground = max(number for number, line in enumerate(drawing) if re.search(r"[a-z]/(\s|$)", line)) + 1
    return [*rooms[:ground], [room for line in rooms[ground:] for room in line]]


def room_of(module: str) -> str:
    """The room of the drawing that a module is in."""
    rooms = [room for floor in floors() for room in floor if f"{module}/".startswith(f"{room}/")]
    return max(rooms, key=len, default="")


def floor_of(room: str) -> int:
    return next((number for number, floor in enumerate(floors()) if room in floor), len(floors()))


def homes() -> dict[str, list[str]]:
    """The table of what is imported in few places: a library or a room, and the rooms or folders that may."""
    rows = re.findall(r"^\| `([\w/]+?)/?` \| (.*) \|$", PAGE, flags=re.MULTILINE)
    return {what: re.findall(r"`([a-z_/]+)(?:/|\.py)`", places) for what, places in rows}


def is_within(module: str, folders: list[str]) -> bool:
    return any(f"{module}/".startswith(f"{folder}/") for folder in folders)


def test_the_drawing_shows_each_module_and_nothing_else() -> None:
    rooms = {room for floor in floors() for room in floor}
    assert {name for name in modules() if not room_of(name)} == FACADES | {"__main__"}
    assert {room_of(name) for name in modules()} - {""} == rooms


def test_an_import_points_down_or_stays_in_its_room() -> None:
    ground = len(floors()) - 1
    wrong = []
    for user, used in own_imports():
        if user in FACADES or user == "__main__" or used in FACADES:
            continue
        here, there = room_of(user), room_of(used)
        below = floor_of(there) - floor_of(here)
        if here != there and below <= 0 and not (below == 0 and floor_of(here) == ground):
            wrong.append(f"{user} imports {used}")
    assert wrong == []


def test_of_the_package_itself_only_its_version_is_imported() -> None:
    rooms = {name.partition("/")[0] for name in modules()}
    for user, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert "glimp_local" not in {alias.name for alias in node.names}, user
            elif isinstance(node, ast.ImportFrom) and node.module == "glimp_local":
                assert {alias.name for alias in node.names} <= {"__version__", *rooms}, user


def test_no_module_imports_itself_by_way_of_others() -> None:
    edges: dict[str, set[str]] = {}
    for user, used in own_imports():
        if user not in FACADES and user != used:
            edges.setdefault(user, set()).add(used)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            new = edges.get(todo.pop(), set()) - seen
            seen |= new
            todo.extend(new)
        return seen

    found = {module: reached(module) for module in edges}
    cycles = {
        frozenset(other for other in found[module] if module in found.get(other, set()))
        for module in edges
        if module in found[module]
    }
    assert cycles == set(CYCLES)


def test_what_is_imported_in_one_place_only_stays_there() -> None:
    assert {"engines/llama", "llama_cpp", "huggingface_hub"} <= set(homes())
    for what, places in homes().items():
        users = {user for user, used in imports() if is_within(used, [what]) and not is_within(user, [what])}
        assert [user for user in sorted(users) if not is_within(user, places)] == [], what
        for place in places:
            assert any(is_within(user, [place]) for user in users), f"nothing in {place} imports {what}"


def test_the_package_imports_nothing_that_stands_above_it() -> None:
    assert {used for _, used in imports()}.isdisjoint({"tests", "benchmarks", "training"})


def test_modules_are_imported_by_name_only_where_the_public_names_and_the_commands_are() -> None:
    users = {
        name
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in {"import_module", "__import__"}
    }
    assert users == {"__init__", "cli"}


def test_each_path_of_the_page_is_there() -> None:
    paths = set(re.findall(r"`([\w.]+/[\w./]*|[a-z_]+\.py)`", PAGE))
    assert len(paths) > 10
    assert [path for path in sorted(paths) if not (PACKAGE / path).exists() and not (ROOT / path).exists()] == []


def test_each_class_and_method_of_the_page_is_there() -> None:
    names = set(re.findall(r"`([A-Z]\w+)(?:\.(\w+))?`", PAGE))
    assert ("Engine", "sync") in names
    assert [name for name in sorted(names) if name[0] not in classes()] == []
    assert [name for name in sorted(names) if name[1] and name[1] not in classes()[name[0]]] == []


HEAVY = ["numpy", "llama_cpp", "textual", "rich", "msgspec", "huggingface_hub", "httpx2", "jinja2", "psutil"]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
@pytest.mark.process
def test_a_quick_command_imports_no_library_but_click(arguments: list[str]) -> None:
    code = "from glimp_local.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass"
    assert loaded(code, arguments).isdisjoint(HEAVY)


def test_importing_the_package_imports_no_library() -> None:
    assert loaded("import glimp_local", []).isdisjoint({*HEAVY, "click"})


def test_a_public_name_is_loaded_when_it_is_used() -> None:
    assert "msgspec" in loaded("import glimp_local; glimp_local.read_events", [])


def loaded(code: str, arguments: list[str]) -> set[str]:
    """Run code as a program with arguments; return the modules it has imported."""
    code += "\nimport sys\nsys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.split())
