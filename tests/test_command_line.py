"""What a person types wrong is answered with one sentence on stderr and exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from conftest import ROOT
from forked import run_all
from ml_collections import config_flags

from tvrl_jax.command import cli


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
WORKDIR = "--workdir=/nowhere/run"
MISTAKES = [
    ((), ["--config is missing"]),
    ((CONFIG,), ["--workdir is missing"]),
    ((CONFIG, WORKDIR, "--wrkdir=x"), ["--wrkdir", "workdir"]),
    ((CONFIG, WORKDIR, "--config.optim.lrr=1"), ["optim.lrr", "optim.lr"]),
    ((CONFIG, WORKDIR, "--config.otpim.lr=1"), ["otpim.lr", "optim.lr"]),
    ((CONFIG, WORKDIR, "--config.optim.lr=fast"), ["optim.lr"]),
    ((CONFIG, WORKDIR, "--config.seed=1.5"), ["seed"]),
    ((CONFIG, WORKDIR, "--config.seed=-1"), ["config.seed", "0 or more"]),
    ((CONFIG, WORKDIR, "--config.optim.lr=nan"), ["config.optim.lr"]),
    ((CONFIG, WORKDIR, "--config.model={}"), ["config.model"]),
    ((CONFIG, WORKDIR, "--config.model.arch=huge"), ["model.arch", "huge"]),
    (
        (CONFIG, WORKDIR, "--config.data.root=/nowhere", "--config.data.phantom.kind="),
        ["/nowhere"],
    ),
    ((CONFIG, WORKDIR, "somewhere"), ["somewhere"]),
    (
        ("--config=configs/tvrl.py:phantom_cardiacs", WORKDIR),
        ["phantom_cardiacs", "phantom_cardiac"],
    ),
    (("--config=configs/tvlr.py", WORKDIR), ["tvlr"]),
]


@pytest.fixture(scope="module")
def answers():
    return run_all([("train.py", *arguments) for arguments, _ in MISTAKES])


@pytest.mark.parametrize(("arguments", "words"), MISTAKES)
def test_mistakes_of_train(answers, arguments, words):
    code, said = answers["train.py", *arguments]
    lines = said.splitlines()
    assert code == 2 and len(lines) == 1 and lines[0].startswith("error: "), said
    for word in words:
        assert word in said
    assert not Path("/nowhere").exists()


@pytest.mark.parametrize(("script", "key"), [("train.py", "seed=0"), ("probe.py", "seeds=5")])
def test_help_reads_like_help(script, key):
    result = run(script, "--help")
    assert result.returncode == 0
    assert "--workdir" in result.stdout and f"--config.{key}" in result.stdout
    assert "python " + script in result.stdout and "Traceback" not in result.stderr


def test_folders_may_begin_with_a_tilde(monkeypatch):
    own = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=own)
    for name in ("workdir", "checkpoint"):
        flags.DEFINE_string(name, None, "", flag_values=own)
    line = [f"--config={ROOT}/configs/tvrl.py", "--workdir=~/runs/x", "--checkpoint=~/runs/y"]
    monkeypatch.setattr(cli, "FLAGS", own)
    monkeypatch.setattr(sys, "argv", ["train.py", *line])
    monkeypatch.setenv("HOME", "/home/a")
    cli._parse(("config", "workdir"), "configs.base")
    assert (own.workdir, own.checkpoint) == ("/home/a/runs/x", "/home/a/runs/y")
