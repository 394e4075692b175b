"""What modules say of each other is there: a benchmark that no test runs would break unnoticed."""

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

OWN = ("tvrl_jax", "configs", "benchmarks")
FILES = [*ROOT.glob("*.py"), *(path for name in OWN for path in ROOT.glob(f"{name}/**/*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_of_our_own_modules_are_there(path):
    tree = ast.parse(path.read_text())
    modules = dict(imported(tree))
    rebound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and writes(n)}
    rebound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            if module and node.value.id not in rebound:
                assert hasattr(module, node.attr), f"line {node.lineno}: {ast.unparse(node)}"


def writes(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def imported(tree: ast.AST):
    """(name, module) of what is imported from our own packages; all of it must be there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OWN:
            module = importlib.import_module(node.module)
            for alias in node.names:
                found = getattr(module, alias.name, None)
                if found is None:
                    found = importlib.import_module(f"{node.module}.{alias.name}")
                if isinstance(found, ModuleType):
                    yield alias.asname or alias.name, found


def test_a_name_that_is_not_there_is_found(tmp_path):
    (tmp_path / "one.py").write_text("from tvrl_jax import prober\n\nprober.restore_encoder()\n")
    with pytest.raises(AssertionError, match=r"line 3: prober\.restore_encoder"):
        test_names_of_our_own_modules_are_there(Path(tmp_path / "one.py"))
