"""Damaged and hostile inputs: a result or one short sentence, within bounds, and no harm done.

`make fuzz` draws many more of them than this file; both print how many there were of each kind.
"""

import ast
import os
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from fuzz import forks, law
from fuzz.__main__ import again
from fuzz.targets import TARGETS, shares

from tvrl_jax.errors import UserError

INPUTS = 1100
SEED = 1  # other inputs than those of `make fuzz`


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory) -> Path:
    """A folder that no input may touch."""
    folder = tmp_path_factory.mktemp("sentinel")
    np.save(folder / "secret.npy", np.zeros((2, 4, 4), np.uint8))
    return folder


@pytest.mark.parametrize(("name", "inputs"), shares(INPUTS).items())
def test_damaged_inputs_do_no_harm(name, inputs, sentinel, tmp_path, record_property):
    before = law.listing(sentinel), law.listing(ROOT / "configs")
    count = forks.run(TARGETS[name], SEED, range(inputs), tmp_path)
    record_property("fuzz", str(count))
    assert not count.failures, "\n".join(map(str, count.failures))
    assert count.inputs == count.good + count.refused == inputs
    assert count.good and count.refused  # neither all noise nor all fine
    assert (law.listing(sentinel), law.listing(ROOT / "configs")) == before


def _target(use) -> law.Target:
    return law.Target("own", lambda rng, folder: folder, use)


def _outside(folder: Path) -> None:
    (folder.parent / "tvrl-fuzz-outside").touch()


def _moved_outside(folder: Path) -> None:
    (folder / "a").touch()
    (folder / "a").rename(folder.parent / "tvrl-fuzz-outside")


def _unpickled(folder: Path) -> None:
    import pickle

    pickle.loads(law.pickled(folder))


def _long(folder: Path) -> None:
    error = UserError("")
    error.args = ("x" * 5000,)
    raise error


def _two_lines(folder: Path) -> None:
    error = UserError("")
    error.args = ("one\ntwo",)
    raise error


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (_outside, "/tvrl-fuzz-outside"),
        (_moved_outside, "harm: os.rename"),
        (_unpickled, "harm: pickle.find_class"),
        (lambda folder: os.system("true"), "harm: os.system"),
        (lambda folder: law.marker(folder).touch(), "was executed"),
        (lambda folder: np.ones(700 << 20, np.uint8), "MiB of memory"),
        (_long, "a sentence of 5000 characters"),
        (_two_lines, "does not print on one line"),
        (lambda folder: 1 / 0, "ZeroDivisionError"),
        (lambda folder: os.abort(), "the process ended with -6"),
        (lambda folder: time.sleep(120), "the process ended with 1: Timeout"),
    ],
)
def test_the_law_is_held_to(use, words, tmp_path, monkeypatch):
    if "Timeout" in words:
        monkeypatch.setattr(forks, "SECONDS", 2.0)
    count = forks.run(_target(use), 0, range(2), tmp_path / "keep")
    assert len(count.failures) == 2
    assert all(words in failure.said for failure in count.failures), count.failures
    assert len(list((tmp_path / "keep").iterdir())) == 2


def test_an_input_is_the_same_each_time(tmp_path):
    for name in ("npy", "nifti", "pictures"):
        made = []
        for k in range(2):
            folder = tmp_path / f"{name}{k}"
            folder.mkdir()
            path = TARGETS[name].make(forks.random(TARGETS[name], 3, 5), folder)
            made.append(Path(path).read_bytes())
        assert made[0] == made[1]


# What executes or unpickles. Configurations are Python by their user's choice (configuration.py).
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen"}
FORBIDDEN_MODULES = {"pickle", "dill", "joblib", "marshal", "shelve", "yaml", "subprocess"}
ALLOWED = {  # one asks the machine what it is, the other starts the cells of a comparison
    "comparison/machine.py": {"subprocess"},
    "comparison/runner.py": {"subprocess"},
}


def _names(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0], node
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in FORBIDDEN_CALLS:
                yield called.id, node
            if isinstance(called, ast.Attribute) and called.attr in ("system", "popen"):
                yield called.attr, node
            for keyword in node.keywords:
                if (
                    keyword.arg == "allow_pickle"
                    and getattr(keyword.value, "value", 1) is not False
                ):
                    yield "allow_pickle", node


def test_no_code_of_a_file_can_run():
    forbidden = FORBIDDEN_CALLS | FORBIDDEN_MODULES | {"allow_pickle"}
    found = []
    for path in sorted((ROOT / "tvrl_jax").rglob("*.py")):
        inside = str(path.relative_to(ROOT / "tvrl_jax"))
        for name, node in _names(ast.parse(path.read_text())):
            if name in forbidden - ALLOWED.get(inside, set()):
                found.append(f"{inside}:{node.lineno} {name}")
    assert not found


def test_numpy_files_are_loaded_in_one_place_and_never_unpickled():
    calls = []
    for path in sorted((ROOT / "tvrl_jax").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
                calls.append((path.name, {k.arg: ast.unparse(k.value) for k in node.keywords}))
    assert {name for name, _ in calls} == {"archive.py"}
    assert all(options["allow_pickle"] == "False" for _, options in calls)


def test_one_input_is_tried_again_and_its_refusal_printed(capsys):
    assert again("npz", seed=0, number=17) == 0
    assert "a.npz\nrefused: " in capsys.readouterr().out
