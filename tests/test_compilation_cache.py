"""What one run has compiled, the next one does not compile again."""

import os
import subprocess
import sys

import tiny
from conftest import ROOT

OURS = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_")  # of this suite


def _train(*flags: str) -> None:
    """train.py as its user starts it: without a cache but that of its configuration."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
    # Else a program that takes about a second is kept by one run and not by the other.
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "train.py", *flags]
    made = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert made.returncode == 0, made.stderr


def test_a_run_with_another_seed_takes_its_programs_from_the_cache(tmp_path):
    tiny.write_cohort(tmp_path / "cohort")
    cache = tmp_path / "cache"
    # The first step is also the one that draws the samples and that looks at blank images.
    changes = {"train.steps": 1, "model.stem": "patch", "log.compilation_cache": str(cache)}
    flags = tiny.flags(tmp_path / "cohort", "csimclr", **changes)
    _train(*flags, f"--workdir={tmp_path / 'first'}")
    kept = {path.name for path in cache.glob("*-cache")}
    assert any(name.startswith("jit_guarded_step-") for name in kept), kept
    _train(*flags, f"--workdir={tmp_path / 'second'}", "--config.seed=7")
    assert {path.name for path in cache.glob("*-cache")} == kept
