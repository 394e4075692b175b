"""Rows of metrics.jsonl and results.csv, as a run and a probe write them."""

import math

import numpy as np

from tvrl_jax.report.metricslog import MetricsLog


def metrics_row(step: int) -> dict:
    return {"loss": np.float32(1 / (step + 1)), "top1": math.nan if step == 3 else 0.1 * step}


def write_log(folder, steps, resume_step: int = 0) -> None:
    with MetricsLog(folder, tensorboard=False, resume_step=resume_step) as log:
        for step in steps:
            log.write(step, metrics_row(step))


def result_row(method="tvrl", task="LVEF", metric="r2", value=0.5, half=0.1, **other) -> dict:
    row = dict(method=method, cohort="phantom", task=task, probe="linear", fraction=1.0, seed="all")
    row |= dict(metric=metric, value=value, ci_low=value - half, ci_high=value + half, n=40)
    return row | other
