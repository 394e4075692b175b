"""From the predictions that the probes kept to the rows of results.csv."""

import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tvrl_jax import results
from tvrl_jax.comparison import record
from tvrl_jax.comparison.plan import TRAIN, Plan
from tvrl_jax.errors import UserError
from tvrl_jax.probing import paired, rows, stats
from tvrl_jax.probing.rows import Score
from tvrl_jax.results import ALL, BASELINES, MAIN, MINUS, P

# Those of a probe, then the seed of the pretraining and the deviation over its seeds.
COLUMNS = (*results.COLUMNS, "pretraining_seed", "spread")
HOLM = "_p_holm"  # after the metric's name: the probability of a difference, corrected
AT_ONCE = 8  # columns, each with a weight for every test series in every resample


class Column(NamedTuple):
    """One method (or baseline) under one probe, with every pretraining seed that succeeded."""

    name: str
    probe: str
    seeds: tuple[int, ...]
    per_seed: tuple[list[Score], ...]  # as from rows.evaluate
    mean: list[Score]  # over pretraining seeds; those of all probe seeds only
    spread: list[float]  # of each of `mean`: standard deviation over pretraining seeds, NaN of one


def columns(plan: Plan) -> list[Column]:
    """Every method and baseline that was measured, in the order of the table."""
    measured = _measured(plan)
    job = functools.partial(paired.scores, **plan.config.bootstrap)
    found: dict[tuple[str, str], list[tuple[int, list[Score]]]] = {}
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, AT_ONCE))
    try:
        made = pool.map(job, (own for *_, own in measured))
        bar = tqdm(made, "resampling", len(measured), unit="column", leave=False, disable=None)
        for (key, seed, _), scores in zip(measured, bar, strict=True):
            found.setdefault(key, []).append((seed, scores))
    finally:
        pool.shutdown(cancel_futures=True)
    order = names(plan)
    keys = sorted(found, key=lambda key: (plan.config.probes.index(key[1]), order.index(key[0])))
    return [_column(*key, found[key]) for key in keys]


def _measured(plan: Plan) -> list[tuple[tuple[str, str], int, paired.Measured]]:
    """((column, probe), pretraining seed, predictions) of all that is done, on the same series."""
    found = []
    first: dict[str, paired.Measured] = {}
    for cell in plan.cells:
        if cell.kind == TRAIN or not record.is_done(plan, cell):
            continue
        for method in (cell.method, *cell.baselines):
            key = column_name(plan, method, cell.method), cell.kind
            if method != cell.method and any(key == other for other, *_ in found):
                continue  # the constant predictor is the same beside every method
            try:
                measured = paired.load(cell.folder, cell.kind, method=method)
            except UserError as error:
                raise UserError(
                    f"{str(error).rstrip('.')}: remove {cell.folder}, and the same command runs "
                    "that cell again."
                ) from error
            measured = paired.aligned(first.setdefault(cell.kind, measured), measured)
            found.append((key, cell.seed, measured))
    return found


def column_name(plan: Plan, method: str, beside: str) -> str:
    """`untrained` alone where there is one architecture, else with a method that has it."""
    several = len({str(config.model) for config in plan.pretraining.values()}) > 1
    return f"untrained ({beside})" if method == "untrained" and several else method


def names(plan: Plan) -> list[str]:
    """All columns: methods, untrained encoders, the constant predictor."""
    lent = [
        column_name(plan, baseline, cell.method)
        for baseline in BASELINES
        for cell in plan.cells
        if baseline in cell.baselines
    ]
    return list(dict.fromkeys((*plan.config.methods, *lent)))


def _column(name: str, probe: str, found: Sequence[tuple[int, list[Score]]]) -> Column:
    """Over pretraining seeds: the expected score of one pretraining, not of an ensemble."""
    seeds, per_seed = zip(*found, strict=True)
    mean = _averaged(seeds, per_seed)
    values = [list(score.pretrainings.values()) for score in mean]
    spread = [float(np.std(v, ddof=1)) if len(v) > 1 else np.nan for v in values]
    return Column(name, probe, seeds, per_seed, mean, spread)


def _averaged(seeds: Sequence[int], per_seed: Sequence[list[Score]]) -> list[Score]:
    """The same score of every pretraining seed, over all probe seeds, as one."""
    alike = zip(*([s for s in scores if s.seed == ALL] for scores in per_seed), strict=True)
    made = []
    for group in alike:
        values = (score.interval.value for score in group)
        pretrainings = dict(zip(seeds, values, strict=True))
        made.append(rows.mean(group)._replace(pretrainings=pretrainings))
    return made


def result_rows(plan: Plan, found: Sequence[Column]) -> list[dict]:
    """Scores of each column: of every pretraining seed, then of all; then paired differences."""
    cohort = plan.cohort
    made = []
    for column in found:
        of = dict(method=column.name, cohort=cohort, probe=column.probe)
        for seed, scores in zip(column.seeds, column.per_seed, strict=True):
            made += [_more(row, seed, np.nan) for row in rows.rows(scores, **of)]
        averaged = rows.rows(column.mean, **of)
        made += [_more(r, ALL, s) for r, s in zip(averaged, column.spread, strict=True)]
        made += [_more(r, ALL, np.nan) for r in rows.count_rows(column.mean, **of)]
    return made + difference_rows(plan, found)


def _more(row: dict, seed: int | str, spread: float) -> dict:
    return row | {"pretraining_seed": seed, "spread": spread}


def difference_rows(plan: Plan, found: Sequence[Column]) -> list[dict]:
    """Every method minus each of `against` and each baseline, on the same test patients.

    Where a pretraining has failed, two methods are compared over the seeds that both have, and not
    at all without any. A baseline has no pretraining, and so no seeds to share.
    """
    made = []
    for a in (column for column in found if column.name in plan.config.methods):
        for b in (column for column in found if column.probe == a.probe and column.name != a.name):
            if b.name in plan.config.methods and b.name not in plan.config.against:
                continue
            of = dict(method=a.name + MINUS + b.name, cohort=plan.cohort)
            one, other = a.mean, b.mean
            if b.name in plan.config.methods and set(a.seeds) != set(b.seeds):
                one, other = _of(a, b.seeds), _of(b, a.seeds)
            pairs = rows.differences(one, other, probe=a.probe, **of) if one else []
            made += [_more(row, ALL, np.nan) for row in pairs]
    return made + corrected(plan, made) + seed_rows(plan, found)


def seed_rows(plan: Plan, found: Sequence[Column]) -> list[dict]:
    """The claimed differences of each pretraining seed alone, without p: do the seeds agree?"""
    made = []
    for a in (column for column in found if column.name in plan.config.claimed):
        for b in (column for column in found if column.name in plan.config.against):
            if a.probe != b.probe or a.name == b.name:
                continue
            of = dict(method=a.name + MINUS + b.name, cohort=plan.cohort, probe=a.probe)
            for seed in (seed for seed in a.seeds if seed in b.seeds):
                pairs = rows.differences(_of(a, [seed]), _of(b, [seed]), **of)
                made += [_more(r, seed, np.nan) for r in pairs if r["metric"] in MAIN]
    return made


def _of(column: Column, seeds: Sequence[int]) -> list[Score]:
    """The mean over those pretraining seeds that are among `seeds`; empty without any."""
    pairs = zip(column.seeds, column.per_seed, strict=True)
    kept = {seed: scores for seed, scores in pairs if seed in seeds}
    return _averaged(list(kept), list(kept.values()))


def corrected(plan: Plan, differences: Sequence[dict]) -> list[dict]:
    """Rows METRIC_p_holm: the claim's probabilities, corrected for all tasks and pairs at once.

    The family is `claimed` minus `against`, the main metric of every task, of one probe and label
    fraction.
    """
    claim = [a + MINUS + b for a in plan.config.claimed for b in plan.config.against if a != b]
    wanted = [metric + P for metric in MAIN]
    family: dict[tuple, list[dict]] = {}
    for row in differences:
        if row["method"] in claim and row["metric"] in wanted:
            family.setdefault((row["probe"], row["fraction"]), []).append(row)
    made = []
    for own in family.values():
        values = stats.holm(np.array([row["value"] for row in own]))
        for row, value in zip(own, values, strict=True):
            metric = row["metric"].removesuffix(P) + HOLM
            made.append(row | {"metric": metric, "value": float(value)})
    return made
