"""Time of the whole linear suite on made-up features: `python -m benchmarks.probe`.

8 tasks x 3 fractions x 5 seeds x a grid of 20, 700 training, 150 validation and 150 test patients,
96 features: 2,400 fits, then metrics with bootstrap intervals. Goal on 2 cores: under 3 minutes.
"""

import time

import numpy as np

from configs.probe_linear import get_config
from tvrl_jax.probing import linear, problem, rows, sampling
from tvrl_jax.probing.tasks import Task

SIZES = {"train": 700, "val": 150, "test": 150}
WIDTH = 96


def cohort(seed: int = 0):
    """Features with a linear trace of 6 continuous and 2 binary targets."""
    rng = np.random.default_rng(seed)
    count = sum(SIZES.values())
    feature_ND = rng.normal(size=(count, WIDTH)).astype(np.float32)
    signal_NK = feature_ND @ rng.normal(size=(WIDTH, 8)) / 10 + rng.normal(size=(count, 8))
    tasks = [Task(f"value{k}", "regression", (), signal_NK[:, k]) for k in range(6)]
    tasks += [
        Task(f"class{k}", "classification", ("no", "yes"), (signal_NK[:, k] > 0.0) * 1.0)
        for k in (6, 7)
    ]
    edges = np.cumsum([0, *SIZES.values()])
    series = {name: np.arange(edges[i], edges[i + 1]) for i, name in enumerate(SIZES)}
    return {name: feature_ND[index] for name, index in series.items()}, tasks, series


def main() -> None:
    config = get_config()
    feature, tasks, series = cohort()
    begin = time.perf_counter()
    draws = sampling.draws(
        tasks, series["train"], series["train"], fractions=config.fractions, seeds=config.seeds
    )
    predictions, settings = [], config.linear.to_dict()
    del settings["feature"]  # made up here
    for part in problem.group(draws, series):
        predictions += linear.fit(feature, part, **settings)
        print(f"{part.kind}: {len(part.draws)} draws, {time.perf_counter() - begin:.1f} s")
    made = rows.evaluate(predictions, series["test"], series["test"], **config.bootstrap)
    print(f"{len(made)} evaluations, {time.perf_counter() - begin:.1f} s in all")


if __name__ == "__main__":
    main()
