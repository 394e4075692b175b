"""Time of every probe of one encoder's frozen features: `python -m benchmarks.probe`.

The cardiac phantom of the demo (900 patients, 135 of them for the test) seen by an untrained
encoder of the demo's size, for features that take as long as those of a trained one. 8 tasks x 3
label fractions x 5 seeds x the grid of configs/probe_KIND.py. The phantom has no time to an event:
cox and hazard get one that is made up, with a hazard that rises as the ejection fraction falls.

A line is what `probe.py` does once the features are cached, compilations included: reading them,
the fits, and the metrics with their intervals. Goal on 2 cores: all of them in 3 minutes.

`cls` is measured when asked for, `--kinds=cls`: its token learns through the frozen blocks, one
window of every series a step, so that no fit shares its work with another; its grid is 4.
"""

import argparse
import importlib
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

from configs import demo, probe_base
from tvrl_jax import learner
from tvrl_jax.data import opening
from tvrl_jax.probing import methods, rows, study, untrained
from tvrl_jax.probing.features import Encoder

KINDS = ("linear", "ridge", "attentive", "knn", "cox", "hazard")
GRIDS = ("learning_rates", "weight_decays", "strengths", "ks")  # keys whose product is the grid
FOLLOW_UP = 5.0  # made up: everybody is seen for 1 to 5 seconds, in the cohort's unit of time


class Line(NamedTuple):
    kind: str
    draws: int
    grid: int
    fitting_s: float
    scoring_s: float
    processor_s: float  # of all cores, for a machine that has other work to do


def cohort(root: str, table: Path):
    """The demo's configuration and its cohort, whose table has made-up outcomes besides."""
    config = demo.get_config()
    config.data.root = root
    opening.open_cohort(config.data)
    outcomes(pd.read_csv(f"{root}/{config.data.csv}")).to_csv(table, index=False)
    config.data.csv = str(table)
    config.data.columns.event, config.data.columns.duration = "event", "duration"
    return config, opening.open_cohort(config.data)


def outcomes(patients: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Exponential times to an event, and the end of an observation at random."""
    rng = np.random.default_rng(seed)
    risk_N = -(patients.LVEF - patients.LVEF.mean()) / patients.LVEF.std()
    event_N = rng.exponential(8 / np.exp(risk_N))
    end_N = rng.uniform(1, FOLLOW_UP, len(patients))
    happened_N = event_N <= end_N
    return patients.assign(event=happened_N * 1, duration=np.where(happened_N, event_N, end_N))


def encoder(config, store) -> Encoder:
    """As it starts, with BatchNorm statistics of the training frames."""
    network = learner.make_network(config, learner.find_objective(config), outputs=1)
    fresh = Encoder(network, *network.init(jax.random.key(0)), config)
    section = probe_base.get_config().features
    sizes = dict(batches=section.settle_batches, batch_size=section.settle_size)
    return untrained.settled(fresh, store, seed=0, **sizes)


def settings(kind: str, cache: str):
    config = importlib.import_module(f"configs.probe_{kind}").get_config()
    config.features.cache = cache
    return config


def grid(config) -> int:
    return int(
        np.prod([len(config[config.kind][key]) for key in GRIDS if key in config[config.kind]])
    )


def measure(kind: str, one: Encoder, store, cache: str) -> Line:
    """From the cached features to scores."""
    config = settings(kind, cache)
    begin, spent = time.perf_counter(), time.process_time()
    asked = study.plan(one, store, config, quiet)
    predictions, _ = methods.predict(one.config.method, asked)
    middle = time.perf_counter()
    test = asked.series["test"], asked.subject["test"]
    rows.evaluate(predictions, *test, **config.bootstrap)
    took = (middle - begin, time.perf_counter() - middle, time.process_time() - spent)
    return Line(kind, len(predictions), grid(config), *took)


def quiet(line: str) -> None:
    pass


HEAD = ("kind", "draws", "grid", "fits", "fitting s", "scoring s", "all s", "processor s")


def cells(line: Line) -> tuple[str, ...]:
    counts = (line.draws, line.grid, line.draws * line.grid)
    seconds = (line.fitting_s, line.scoring_s, line.fitting_s + line.scoring_s, line.processor_s)
    return (line.kind, *map(str, counts), *(f"{value:.1f}" for value in seconds))


def show(row) -> None:
    print("".join(f"{cell:>12}" for cell in row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="data/phantom_cardiac_64", help="folder of the cohort")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which probes, in order")
    parser.add_argument("--cache", default="data/probe_features", help="folder of the features")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config, store = cohort(args.root, Path(folder) / "cohort.csv")
    one = encoder(config, store)
    begin = time.perf_counter()
    methods.features_of("encoder", one, study.plan(one, store, settings("knn", args.cache), quiet))
    print(f"features (from the cache where it has them): {time.perf_counter() - begin:.1f} s")
    show(HEAD)
    lines = []
    for kind in args.kinds.split(","):
        lines.append(measure(kind, one, store, args.cache))
        show(cells(lines[-1]))
    seconds = sum(line.fitting_s + line.scoring_s for line in lines)
    print(f"{sum(line.draws * line.grid for line in lines)} fits, {seconds:.1f} s in all")


if __name__ == "__main__":
    main()
