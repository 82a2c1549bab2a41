"""The architecture, held: who may import whom, packages = folders, lengths of files."""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("codec", "models", "bench")


def imports(path: Path) -> set[str]:
    """Top-level names and our own parts that a file imports, anywhere in it."""
    found: set[str] = set()
    part, level = path.relative_to(ROOT).parts[0], len(path.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")
            if node.level == 0:
                found.add(module[1] if module[0] == "presage" and len(module) > 1 else module[0])
            elif node.level < level:
                found.add(part)
            else:
                found |= {module[0]} if module[0] else {alias.name for alias in node.names}
    return found


def sources(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


def test_who_imports_whom() -> None:
    for path in sources("models"):
        assert not imports(path) & {"codec", "bench", "constriction"}, path
    for path in sources("codec"):
        allowed = {"tools.py": {"bench"}}.get(path.name, set())
        assert not imports(path) & {"bench"} - allowed, path
        assert "constriction" not in imports(path) or path.name == "ans.py", path


def test_container_and_store_need_the_standard_library_only() -> None:
    for path in (ROOT / "codec" / "format" / "container.py", ROOT / "codec" / "errors.py", ROOT / "models" / "catalogue.py"):
        assert not imports(path) & {"torch", "numpy", "PIL", "safetensors", "click"}, path


def test_packages_are_the_folders() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for part in PARTS for path in (ROOT / part).rglob("*.py")}
    assert set(setup["packages"]) == {"presage", *("presage." + ".".join(folder.parts) for folder in folders)}
    assert setup["package-dir"] == {f"presage.{part}": part for part in PARTS}


def test_no_file_is_much_over_four_hundred_lines() -> None:
    for part in (*PARTS, "presage", "tests"):
        for path in sources(part):
            assert len(path.read_text().splitlines()) <= 420, path


def test_format_constants_are_documented() -> None:
    from presage.codec.format import container

    text = (ROOT / "FORMAT.md").read_text()
    for tag in (v for v in vars(container.Tag).values() if isinstance(v, bytes)):
        assert f"`{tag.decode()}`" in text, tag
    for mode in container.Mode:
        assert f"| {int(mode)} | {container.PIL_MODES[mode]}" in text, mode
