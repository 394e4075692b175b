"""What one run has compiled, the next one does not compile again."""

import os
import subprocess
import sys
from pathlib import Path

import tiny
from conftest import ROOT

OURS = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_")  # of this suite
PROBE = {"fractions": "(1.0,)", "seeds": 1, "baselines": "()", "bootstrap.samples": 50}


def _run(*command: str) -> None:
    """A script as its user starts it: without a cache but that of its configuration."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
    # Else a program that takes about a second is kept by one run and not by the other.
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    made = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert made.returncode == 0, made.stderr


def _kept(cache: Path) -> set[str]:
    return {path.name for path in cache.glob("*-cache")}


def test_a_run_with_another_seed_and_its_probe_take_their_programs_from_the_cache(tmp_path):
    tiny.write_cohort(tmp_path / "cohort")
    cache = tmp_path / "cache"
    # The first step is also the one that draws the samples and that looks at blank images.
    changes = {"train.steps": 1, "model.stem": "patch", "log.compilation_cache": str(cache)}
    flags = tiny.flags(tmp_path / "cohort", "csimclr", **changes)
    _run("train.py", *flags, f"--workdir={tmp_path / 'first'}")
    trained = _kept(cache)
    assert any(name.startswith("jit_guarded_step-") for name in trained), trained
    _run("train.py", *flags, f"--workdir={tmp_path / 'second'}", "--config.seed=7")
    assert _kept(cache) == trained

    probe = ["probe.py", "--config=configs/probe_ridge.py"]
    probe += [f"--config.{key}={value}" for key, value in PROBE.items()]
    probe += [f"--config.log.compilation_cache={cache}", f"--config.features.cache={tmp_path}"]
    _run(*probe, f"--checkpoint={tmp_path / 'first'}", f"--workdir={tmp_path / 'first'}")
    probed = _kept(cache)
    assert len(probed) > len(trained)
    _run(*probe, f"--checkpoint={tmp_path / 'second'}", f"--workdir={tmp_path / 'second'}")
    assert _kept(cache) == probed
