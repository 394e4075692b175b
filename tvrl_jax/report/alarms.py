"""What must not be overlooked: each check reads the run's own record and ends in a sentence."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tvrl_jax.report.compare import compare
from tvrl_jax.report.naming import metric_text
from tvrl_jax.report.scalars import is_number

RECENT = 5  # rows at the end of the log that speak for the finished encoder
SURE = 4.0  # standard errors above chance ...
WELL_ABOVE = 3.0  # ... and times chance, before the clock is accused
COLLAPSED_RANK = 2.0
COLLAPSED_COSINE = 0.95
UNLEARNT = 0.97  # share of the chance loss log(2B - 1) above which nothing was learned


class Check(NamedTuple):
    name: str
    alarm: str  # "" = none
    finding: str  # what was seen; "" = the run recorded nothing to judge by


def check_run(rows: Sequence[Mapping], batch_size: int | None) -> list[Check]:
    """Checks of metrics.jsonl; `batch_size` is the number of series B of a step, if known."""
    return [
        finite(rows),
        clock(rows),
        collapse(rows),
        unlearnt(rows, batch_size),
    ]


def recent(rows: Sequence[Mapping], name: str) -> float | None:
    """Mean of the last few values of a metric; None when there is none."""
    values = [row[name] for row in rows if is_number(row.get(name))][-RECENT:]
    return sum(values) / len(values) if values else None


def finite(rows: Sequence[Mapping]) -> Check:
    bad = [row["step"] for row in rows if "loss" in row and not is_number(row["loss"])]
    seen = sum("loss" in row for row in rows)
    alarm = f"The loss was not finite at step {bad[0]}." if bad else ""
    return Check("finite loss", alarm, f"{seen} recorded losses" if seen else "")


def clock(rows: Sequence[Mapping]) -> Check:
    """Top-1 retrieval between views whose images are blank: only timestamps are left to tell."""
    top1, chance = recent(rows, "blank_top1"), recent(rows, "blank_chance")
    if top1 is None or not chance:
        return Check("blank images", "", "")
    readings = min(sum(is_number(row.get("blank_top1")) for row in rows), RECENT)
    queries = readings * (1 / chance + 1)  # chance is 1 / (2B - 1), so this is 2B a reading
    error = math.sqrt(chance * (1 - chance) / queries)
    finding = f"top-1 with blank images {top1:.3f}, chance {chance:.3f}"
    bad = top1 > chance + SURE * error and top1 > WELL_ABOVE * chance
    alarm = (
        f"The clock, not the heart, is being learned: {finding}. The timestamps of a series tell "
        "it apart; raise augment.time_shift, time_scale or time_jitter."
    )
    return Check("blank images", alarm if bad else "", finding)


def collapse(rows: Sequence[Mapping]) -> Check:
    rank, cosine = recent(rows, "effective_rank"), recent(rows, "inter_cosine")
    seen = [f"effective rank {rank:.1f}"] if rank is not None else []
    seen += [f"cosine between subjects {cosine:.2f}"] if cosine is not None else []
    finding = ", ".join(seen)
    bad = (rank is not None and rank < COLLAPSED_RANK) or (
        cosine is not None and cosine > COLLAPSED_COSINE
    )
    alarm = f"The embedding has collapsed: all subjects look nearly alike ({finding})."
    return Check("collapse", alarm if bad else "", finding)


def unlearnt(rows: Sequence[Mapping], batch_size: int | None) -> Check:
    loss = recent(rows, "loss_contrastive")
    if loss is None or not batch_size:
        return Check("contrastive loss", "", "")
    guess = math.log(2 * batch_size - 1)
    finding = f"contrastive loss {loss:.2f}, guessing gives {guess:.2f}"
    alarm = f"Nothing was learned: {finding}."
    return Check("contrastive loss", alarm if loss > UNLEARNT * guess else "", finding)


def helped(results: Sequence[Mapping], method: str, fraction: float, probe: str) -> Check:
    """Whether `method` beats the same encoder untrained at any task, beyond chance.

    Tasks with too few test patients of a class cannot tell, and are left out.
    """
    pair = (method, "untrained")
    lines = compare(results, pair, fraction, probe=probe)
    lines = [line for line in lines if all(line.cells) and not line.few]
    if method == "untrained" or not lines:
        return Check("against the untrained encoder", "", "")
    better, worse = ([line for line in lines if line.cells[i].best] for i in (0, 1))
    finding = f"better beyond chance in {len(better)} of {len(lines)} comparisons"
    alarm = ""
    if not better:
        alarm = f"Pretraining has not helped: against the untrained encoder it is {finding}."
    if worse:
        names = ", ".join(f"{line.task} ({metric_text(line.metric)})" for line in worse)
        alarm += f"{' ' if alarm else ''}The untrained encoder is better at {names}."
    return Check("against the untrained encoder", alarm, finding)
