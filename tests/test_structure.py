"""The architecture, held: who may import whom, no cycles, one place that knows kinds of models, packages = folders, lengths of files."""

import ast
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("codec", "models", "bench")
LIGHT = (
    "codec/archive/manifest.py",
    "codec/archive/names.py",
    "codec/archive/tally.py",
    "codec/format",
    "codec/errors.py",
    "codec/settings.py",
    "codec/paths/truncate.py",
    "codec/predictive/schedule.py",
    "models/catalogue.py",
)


def sources(*parts: str) -> list[Path]:
    paths = [ROOT / part for part in parts]
    return sorted(p for path in paths for p in (path.rglob("*.py") if path.is_dir() else [path]))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in sources(*PARTS)}


def statements(path: Path) -> Iterator[ast.AST]:
    """Everything in a file but what only type checkers read."""
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        yield node
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            waiting += ast.iter_child_nodes(node)


def imports(path: Path) -> set[str]:
    """What a file imports, anywhere in it: our own modules by their paths from the root, all others by their top-level names."""
    own = [*path.relative_to(ROOT).with_suffix("").parts]
    found: set[str] = set()
    for node in statements(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            name = ".".join([*own[: len(own) - node.level], *([node.module] if node.module else [])]) if node.level else node.module or ""
            name = name.removeprefix("presage.")
            for alias in node.names:
                inner = f"{name}.{alias.name}" if name else alias.name
                found.add(inner if inner in MODULES else name if name in MODULES else name.split(".")[0])
    return found


def parts_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def test_who_imports_whom() -> None:
    for path in sources("models"):
        assert not parts_of(path) & {"codec", "bench", "constriction"}, path
    for path in sources("codec"):
        assert "bench" not in parts_of(path) or path == ROOT / "codec" / "cli" / "tools.py", path
        assert "constriction" not in parts_of(path) or path == ROOT / "codec" / "coders" / "ans.py", path
        assert "ray" not in parts_of(path), path  # which cluster.py imports by its name, where it is
        assert "click" not in parts_of(path) or path.parent == ROOT / "codec" / "cli", path
        assert not any(name.startswith("codec.cli") for name in imports(path)) or path.parent == ROOT / "codec" / "cli", path


def test_no_import_cycles() -> None:
    """Imports inside functions count: they may be late, but they may not hide a cycle."""
    graph = {module_of(path): imports(path) & MODULES - {module_of(path)} for path in sources(*PARTS)}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_one_place_knows_the_kinds_of_models() -> None:
    """The codec asks models what they offer: it never asks of what class one is, nor what its weights file says of its kind."""
    for path in sources("codec"):
        if path.name in ("weights.py", "tools.py"):  # the one place, and the command that lists weights files
            continue
        assert not {name for name in imports(path) if name.startswith("models.") and name.endswith((".exact", ".network"))}, path
        of_models = {
            alias.asname or alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and "models" in (node.module or "").split(".")
            for alias in node.names
        }
        for node in statements(path):
            assert not (isinstance(node, ast.Attribute) and node.attr == "metadata"), path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                assert not {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)} & of_models, path


def test_light_modules_need_the_standard_library_only() -> None:
    for path in sources(*LIGHT):
        assert not imports(path) & {"torch", "numpy", "PIL", "safetensors", "click"}, path


def test_packages_are_the_folders() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in sources(*PARTS)}
    assert set(setup["packages"]) == {"presage", *("presage." + ".".join(folder.parts) for folder in folders)}
    assert setup["package-dir"] == {f"presage.{part}": part for part in PARTS}
    assert all((ROOT / folder / "__init__.py").exists() for folder in folders)


def test_no_file_is_much_over_four_hundred_lines() -> None:
    for path in sources(*PARTS, "presage/__init__.py", "tests", "examples"):
        assert len(path.read_text().splitlines()) <= 420, path


def test_format_constants_are_documented() -> None:
    from presage.codec.format import container

    text = (ROOT / "FORMAT.md").read_text()
    for tag in (v for v in vars(container.Tag).values() if isinstance(v, bytes)):
        assert f"`{tag.decode()}`" in text, tag
    for mode in container.Mode:
        assert f"| {int(mode)} | {container.PIL_MODES[mode]}" in text, mode
