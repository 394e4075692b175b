"""The published claim, put to the test: claimed minus against, task by task."""

import itertools
import math
from collections.abc import Mapping, Sequence

from tvrl_jax.comparison import collect
from tvrl_jax.comparison.plan import Plan
from tvrl_jax.comparison.summary import Grid, Results, Setting, interval, marked, tasks_of
from tvrl_jax.probing.rows import ENOUGH
from tvrl_jax.report import wording
from tvrl_jax.report.alarms import BEYOND_CHANCE
from tvrl_jax.report.naming import method_text
from tvrl_jax.results import MINUS, P_METHODS, P

AHEAD, BEHIND, OPEN = "ahead", "behind", "not shown to differ"
TOO_FEW, SPLIT = "too few patients", "seeds disagree"
OF_METHODS = "p of the methods"
METHODS_NOTE = (
    f"{OF_METHODS[0].upper()}{OF_METHODS[1:]}: with the spread over pretraining seeds as a third "
    "error, not corrected."
)


def table(plan: Plan, results: Results, at: Setting) -> Grid:
    """claimed minus against, task by task: difference, interval, p and corrected p.

    A task with too few test patients has neither p, and does not count in the correction. With
    several pretraining seeds each of them must lie on the side that the mean is on: p knows of the
    test patients and the draws of labels, and of no other encoder. "p of the methods", which takes
    ENOUGH of them, does.
    """
    metrics = ["", P, collect.HOLM]
    head = ["task", "method", "minus", "difference", "p", "corrected p"]
    if len(plan.config.seeds) >= ENOUGH:
        metrics.append(P_METHODS)
        head.append(OF_METHODS)
    body = []
    pairs = itertools.product(tasks_of(results, at.probe), plan.config.claimed, plan.config.against)
    for (task, metric), a, b in pairs:
        pair = a + MINUS + b
        gap, *ps = (results.find(pair, task, at, metric + end) for end in metrics)
        if gap:
            named = [marked(results, at.probe, task), method_text(a), method_text(b), _gap(gap)]
            own = results.per_seed.get((pair, task, *at, metric), [])
            body.append([*named, *map(_probability, ps), _word(gap, ps[1], own)])
    return Grid([*head, "verdict"], body, _note(plan, body))


def verdict(claims: Grid, at: Setting) -> str:
    """One sentence on a table of claims."""
    words = [row[-1] for row in claims.rows]
    rest = f" In {words.count(SPLIT)} the pretraining seeds disagree." * (SPLIT in words)
    rest += f" {words.count(TOO_FEW)} rest on too few patients to tell." * (TOO_FEW in words)
    return (
        f"{wording.heading(*at).capitalize()}: of {len(words)} claimed differences of these "
        f"encoders {words.count(AHEAD)} are ahead and {words.count(BEHIND)} behind beyond chance, "
        f"corrected; {words.count(OPEN)} are not shown to differ.{rest}"
    )


def _note(plan: Plan, body: Sequence[Sequence[str]]) -> str:
    tested = sum(row[-1] != TOO_FEW for row in body)
    parts = [f"{wording.SMALL_NOTE}."] if tested < len(body) else []
    if tested:
        which = "these" if tested == len(body) else "the other"
        parts.append(
            "p: two-sided, Student's t with the error of a paired bootstrap of the test patients"
            f"{', and the spread of the draws of labels' * (plan.config.probe.seeds > 1)}. "
            f"Corrected: Holm, over {which} {tested} differences. "
            f"Verdict at a corrected p below {BEYOND_CHANCE}{_if_alike(plan)}."
        )
        parts += [METHODS_NOTE] if len(plan.config.seeds) >= ENOUGH else []
    return " ".join(parts)


def _if_alike(plan: Plan) -> str:
    several = ", where every pretraining seed of both alone has the same sign; of these encoders"
    return several if len(plan.config.seeds) > 1 else ", for these encoders: one pretraining each"


def _gap(row: Mapping) -> str:
    return f"{row['value']:+.2f}{interval(row, '+.2f')}"


def _probability(row: Mapping | None) -> str:
    if row is None or math.isnan(row["value"]):
        return wording.MISSING
    p = row["value"]
    if p < 0.0001:
        return "< 0.0001"
    return f"{p:.4f}" if p < 0.1 else f"{p:.2f}"  # 0.049 and 0.051 are two verdicts


def _word(gap: Mapping, holm: Mapping | None, per_seed: Sequence[float]) -> str:
    """holm: the row of the corrected p, which too few patients do not have."""
    if holm is None:
        return TOO_FEW
    if not holm["value"] < BEYOND_CHANCE:
        return OPEN
    if not all(value * gap["value"] > 0 for value in per_seed):
        return SPLIT
    return AHEAD if gap["value"] > 0 else BEHIND
