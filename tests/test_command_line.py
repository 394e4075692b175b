"""What a person types wrong is answered with one sentence on stderr and exit code 2."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT


def run(script: str, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, script, *arguments],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def assert_sentence(result: subprocess.CompletedProcess, *words: str) -> None:
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in result.stderr, result.stderr
    for word in words:
        assert word in lines[0], lines[0]


CONFIG = "--config=configs/tvrl.py:phantom_cardiac"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["--config is missing"]),
        ((CONFIG,), ["--workdir is missing"]),
        ((CONFIG, "--wrkdir=x"), ["--wrkdir", "workdir"]),
        ((CONFIG, "--config.optim.lrr=1"), ["optim.lrr", "optim.lr"]),
        ((CONFIG, "--config.otpim.lr=1"), ["otpim.lr", "optim.lr"]),
        ((CONFIG, "--config.optim.lr=fast"), ["optim.lr"]),
        ((CONFIG, "--config.seed=1.5"), ["seed"]),
        ((CONFIG, "--config.seed=-1"), ["config.seed", "0 or more"]),
        ((CONFIG, "--config.optim.lr=nan"), ["config.optim.lr"]),
        ((CONFIG, "--config.model={}"), ["config.model"]),
        ((CONFIG, "--config.model.arch=huge"), ["model.arch", "huge"]),
        ((CONFIG, "--config.data.root=/nowhere", "--config.data.phantom.kind="), ["/nowhere"]),
        ((CONFIG, "somewhere"), ["somewhere"]),
        (("--config=configs/tvrl.py:phantom_cardiacs",), ["phantom_cardiacs", "phantom_cardiac"]),
        (("--config=configs/tvlr.py",), ["tvlr"]),
        (("--config.seed=1", CONFIG), ["--config"]),
    ],
)
def test_mistakes_of_train(arguments, words, tmp_path):
    workdir = tmp_path / "run"
    if words != ["--workdir is missing"]:
        arguments = (*arguments, f"--workdir={workdir}")
    if words == ["--config is missing"]:
        arguments = ()
    assert_sentence(run("train.py", *arguments), *words)
    assert not workdir.exists()


@pytest.mark.parametrize(("script", "key"), [("train.py", "seed=0"), ("probe.py", "seeds=5")])
def test_help_reads_like_help(script, key):
    result = run(script, "--help")
    assert result.returncode == 0
    assert "--workdir" in result.stdout and f"--config.{key}" in result.stdout
    assert "python " + script in result.stdout and "Traceback" not in result.stderr
