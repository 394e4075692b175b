"""Command lines and configuration files as train.py gets them.

A configuration is a Python file that its user chose to execute: what its code does is the user's.
Here it is damaged, returns what is no configuration, or is given values that no run can have.
"""

import sys
from pathlib import Path

import numpy as np
from absl import flags
from ml_collections import config_flags

from configs import tvrl
from tvrl_jax import agreement, settings
from tvrl_jax.command import cli
from tvrl_jax.data import intensity
from tvrl_jax.files import run_folder
from tvrl_jax.learner import find_objective

from . import mutate
from .law import Target

KEYS = tuple(key for key, _ in settings.leaves(tvrl.get_config()))
SECTIONS = tuple(tvrl.get_config())
VALUES = ("nan", "inf", "-inf", "-1", "0", "1e308", "1e999", "9" * 30, "1.5", "None", "True", "",
          "()", "(1,)", "(nan,)", "(1, 2, 3)", "('a', 'b')", "[1]", "{}", "'", "(" * 200, "é", "\n",
          "\udcff", "\x1b[2J", "a" * 5000, "../..", "__import__('os')", "1,2", "0x10", "1_000",
          "(1, 'a')", "((1,), 2)", "-0.0", "2147483648", "3", "s", "1e-320")  # fmt: skip
PRESETS = ("phantom_cardiac", "nothing", "", ":", "é" * 900, "a\nb")
RETURNS = (
    "None",
    "3",
    "{}",
    "c.to_dict()",
    "c.data",
    "type(c)()",
    "[c]",
    "c.unlock()",
    "lambda: c",
)
LINES = (
    "c.data = None", "c.data = 3", "c.model.arch = 7", "c.clips.frames = 'x'", "c.seed = None",
    "c.nothing = 1", "del c.optim", "del c.model.arch",
    "c.unlock(); del c.objective", "c.unlock(); del c.seed", "c.data.targets = ['y']",
    "raise SystemExit",
    "raise SystemExit(0)", "1 / 0", "f = lambda: f()\n    f()",
    "c.augment = (1,)", "c.method = 3", "c.method = 'nothing'", "c.unlock(); c.data.root = {}",
    "c.optim.lr = float('nan')", "c.train.steps = 10**40", "c.data.columns = 'path'",
    "c.unlock(); c['é'] = 1", "c.unlock(); c.model.input_std = (1, 2)", "c.log.every = 1.5",
    "c.unlock(); del c.data.columns.path", "c.objective = 5",
    "with c.ignore_type(): c.train.steps = 'x'", "with c.ignore_type(): c.optim.lr = None",
    "with c.ignore_type(): c.augment = (1,)", "with c.ignore_type(): c.objective = 3",
    "with c.ignore_type(): c.data.columns.path = 5", "with c.ignore_type(): c.data.targets = 'y'",
    "with c.ignore_type(): c.clips.frames = 4.5", "with c.ignore_type(): c.augment.crop = 'ab'",
    "c.unlock(); c.optim.lr = 'x'",
    "c.unlock(); c.data.percentiles = 'ab'", "c.unlock(); c.train = c", "raise Exception('x\\ny')",
)  # fmt: skip
TEXT = "from configs import tvrl\n\ndef get_config(preset=''):\n    c = tvrl.get_config()\n"


def text(rng: np.random.Generator) -> bytes:
    lines = [mutate.pick(rng, LINES) for _ in range(int(mutate.pick(rng, (0, 0, 1, 2))))]
    if rng.random() < 0.3:
        lines.insert(0, "c.unlock()")
    if rng.random() < 0.3:
        key, value = mutate.pick(rng, KEYS), mutate.pick(rng, VALUES)
        lines += ["c.unlock()"] * int(rng.integers(2)) + [f"c.{key} = {value!r}"]
    back = mutate.pick(rng, RETURNS) if rng.random() < 0.1 else "c"
    found = TEXT + "".join(f"    {line}\n" for line in lines) + f"    return {back}\n"
    data = found.encode("utf-8", "surrogatepass")
    return mutate.bytes_(rng, data) if rng.random() < 0.3 else data


def arguments(rng: np.random.Generator) -> list[str]:
    given = []
    for _ in range(int(mutate.pick(rng, (0, 0, 0, 1, 1, 2, 3)))):
        key = mutate.pick(
            rng, KEYS if rng.random() < 0.9 else (*SECTIONS, "x", "", "a.b.c", "seed.x")
        )
        line = f"--config.{key}={mutate.pick(rng, VALUES)}"
        if rng.random() < 0.05:
            line = mutate.bytes_(rng, line.encode("utf-8", "replace")).decode("utf-8", "replace")
        line = line.replace("\0", "")  # no command line can hold it
        given.append(line)
    return given


def make(rng: np.random.Generator, folder: Path) -> list[str]:
    path = folder / "given.py"
    written = rng.random() < 0.6
    if written:
        path.write_bytes(text(rng))
    named = str(path) if written else "configs/tvrl.py"
    if rng.random() < 0.15:
        named = f"{named}:{mutate.pick(rng, PRESETS)}"
    line = ["train.py", f"--config={named}", f"--workdir={folder / 'run'}", *arguments(rng)]
    return line if rng.random() < 0.95 else [line[0], *rng.permutation(line[1:]).tolist()]


def parse(line: list[str]) -> None:
    """What train.py does up to the first file of the cohort; nothing is compiled."""
    own = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=own)
    flags.DEFINE_string("workdir", None, "", flag_values=own)
    flags.DEFINE_bool("resume", False, "", flag_values=own)
    cli.FLAGS, sys.argv = own, line
    cli._parse(("config", "workdir"), "configs.base")
    config = own.config
    objective = find_objective(config)
    settings.check(config)
    agreement.check(config, objective)
    run_folder.refuse_other(own.workdir, config, resume=False)
    data = config.data
    intensity.check_settings(
        image_size=data.image_size,
        channels=data.channels,
        pixel_mm=data.pixel_mm,
        fit=data.fit,
        percentiles=data.percentiles,
    )


TARGETS = (Target("configuration", make, parse, weight=12),)
