"""What must not be overlooked: each check reads the run's own record and ends in a sentence."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

from tvrl_jax.errors import UserError
from tvrl_jax.files import artefacts, whole_file
from tvrl_jax.probing.stats import holm
from tvrl_jax.report import wording
from tvrl_jax.report.compare import Line, compare
from tvrl_jax.report.naming import metric_text
from tvrl_jax.results import ALL, FEW, MAIN, MINUS, P
from tvrl_jax.scalars import is_number

BEYOND_CHANCE = 0.05  # a corrected p below it
RECENT = 5  # rows at the end of the log that speak for the finished encoder
SURE = 4.0  # standard errors above chance ...
WELL_ABOVE = 3.0  # ... and times chance, before the clock is accused
COLLAPSED_RANK = 2.0
COLLAPSED_COSINE = 0.95
# of the length of a feature, by which test series differ; by model.dtype. CLS of images that move
# it by 4e-4 and less in float32 differ by 0.005 to 0.0084 in bfloat16, from rounding (untrained
# encoders of 48 to 768 channels); after pretraining, however short, it was 0.07 and more
COLLAPSED_SPREAD = {"float32": 1e-3, "bfloat16": 0.02}
CERTAIN = 1e-3  # probability of an alarm about the clock by chance alone
BLIND = 0.01  # share of its spread by which a target moves when the images are exchanged
ALIKE = 0.999  # cosine of the targets of different patients' images
IGNORED = 0.01  # of the distance between patients that CLS moves without its times
REGAINED = 0.02  # R2 of elapsed time that times add to the tokens
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
        collapse(rows, batch_size),
        unlearnt(rows, batch_size),
    ]


def recent(rows: Sequence[Mapping], name: str) -> float | None:
    """Mean of the last few values of a metric; None when there is none."""
    values = _last(rows, name)
    return sum(values) / len(values) if values else None


def _last(rows: Sequence[Mapping], name: str) -> list[float]:
    """Values of a metric; that of step 0, when nothing is learned, only where there is no other."""
    known = [row for row in rows if is_number(row.get(name))]
    later = [row for row in known if row.get("step") != 0]
    return [row[name] for row in (later or known)[-RECENT:]]


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
    readings = _last(rows, "blank_top1")
    queries = len(readings) * (1 / chance + 1)  # chance is 1 / (2B - 1), so this is 2B a reading
    error = math.sqrt(chance * (1 - chance) / queries)
    finding = f"top-1 with blank images {top1:.3f}, chance {chance:.3f}"
    bad = top1 > chance + SURE * error and top1 > WELL_ABOVE * chance
    alarm = (
        f"The clock, not the images, is being learned: {finding}. The timestamps of a series tell "
        "it apart; raise augment.time_shift, time_scale, interval_scale, time_jitter or clips.drop."
    )
    return Check("blank images", alarm if bad else "", finding)


def collapse(rows: Sequence[Mapping], batch_size: int | None = None) -> Check:
    """The rank of fewer than FEW series is low however they look: it is not judged then."""
    rank, cosine = recent(rows, "effective_rank"), recent(rows, "inter_cosine")
    if batch_size and batch_size < FEW:
        rank = None
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

    By the main metric of each task, at a p corrected for the number of tasks (Holm): of eight that
    nothing was learned about, one would else be called worse in every fifth report. Numbers of too
    few test patients cannot tell, and are left out.
    """
    name, where = "against the untrained encoder", wording.heading(probe, fraction)
    pair = (method, "untrained")
    lines = [line for line in compare(results, pair, fraction, probe=probe) if all(line.cells)]
    lines = [line for line in lines if line.metric in MAIN]
    if method == "untrained" or not lines:
        return Check(f"{name} ({where})", "", "")
    lines = [line for line in lines if not line.is_open]
    if not lines:
        return Check(f"{name} ({where}: too few test patients)", "", "")
    p_N = _probabilities(results, lines, MINUS.join(pair), probe, fraction)
    told = np.isfinite(p_N).any()  # of a table without any p, the marks tell
    beyond_N = holm(p_N) < BEYOND_CHANCE if told else [any(c.best for c in n.cells) for n in lines]
    sure = [line for line, beyond in zip(lines, beyond_N, strict=True) if beyond]
    better = [line for line in sure if line.cells[0].value > line.cells[1].value]
    worse = [line for line in sure if line.cells[0].value < line.cells[1].value]
    finding = (
        f"better beyond chance{', corrected,' * bool(told)} in {len(better)} of {len(lines)} tasks"
    )
    finding += f", {where}"
    alarm = ""
    if not better:
        alarm = f"Pretraining has not helped: against the untrained encoder it is {finding}."
    if worse:
        names = ", ".join(f"{line.task} ({metric_text(line.metric)})" for line in worse)
        alarm += f"{' ' if alarm else ''}The untrained encoder is better at {names} "
        alarm += f"({where})."
    return Check(name, alarm, finding)


def _probabilities(results, lines: Sequence[Line], pair: str, probe: str, fraction: float):
    """p of the difference of each line, NaN where it has none."""
    known = {
        (row["task"], row["metric"]): float(row["value"])
        for row in results
        if (row["method"], row["probe"], row["seed"]) == (pair, probe, ALL)
        and math.isclose(float(row["fraction"]), fraction)
    }
    return np.array([known.get((line.task, line.metric + P), math.nan) for line in lines])


FILE = "checks_{}.json"  # of a probe folder, one for each kind of probe


def save(folder: str | Path, kind: str, checks: Sequence[Check]) -> None:
    """What a probe found, kept for every later report of its folder."""
    path = Path(folder) / FILE.format(kind)
    text = json.dumps([check._asdict() for check in checks], indent=1) + "\n"
    whole_file.write(path, text)


def load(folder: str | Path) -> list[Check]:
    """What all probes of a folder found; what two of them found alike is there once."""
    paths = sorted(Path(folder).glob(FILE.format("*")))
    return list(dict.fromkeys(check for path in paths for check in _read(path)))


def _read(path: Path) -> list[Check]:
    found = artefacts.read_json(path, list)
    for one in found:
        if not isinstance(one, dict) or set(one) != set(Check._fields):
            raise UserError(
                f"{path} is damaged: each entry must hold {', '.join(Check._fields)}; run the "
                "probe again."
            )
        if not all(isinstance(text, str) for text in one.values()):
            raise UserError(f"{path} is damaged: its entries must be text; run the probe again.")
    return [Check(**one) for one in found]


def summary(checks: Sequence[Check]) -> str:
    """The end of a command's output: every alarm on a line, or that there is none."""
    raised = [check.alarm for check in checks if check.alarm]
    if not raised:
        return "no alarms"
    word = "1 alarm" if len(raised) == 1 else f"{len(raised)} alarms"
    return "\n".join([f"{word}:", *(f"  {alarm}" for alarm in raised)])


def leak(
    shared: Sequence[str],
    tested: int,
    unknown: str,
    copied: Sequence[str] = (),
    by_content: bool = False,
) -> Check:
    """shared: names of test patients whom the encoder was pretrained on; unknown: why they are not
    known; copied: test patients of another name with images that it was pretrained on."""
    name = "patients of pretraining in the test split"
    if unknown and not by_content:
        return Check(f"{name} (pretraining's cohort cannot be read: {unknown.rstrip('.')})", "", "")
    how = "by name and by content" if by_content else "by name only"
    finding = f"{len(shared) + len(copied)} of {tested}, {how}"
    raised = []
    if shared:
        raised.append(
            f"Patient {_and_more(shared)} of the {tested} test patients trained the encoder too: "
            "the numbers are not those of new patients. Test others, or rename them if they are."
        )
    if copied:
        raised.append(
            f"The images of patient {_and_more(copied)} of the {tested} test patients trained the "
            "encoder too, under another name: the numbers are not those of new patients. Test "
            "others."
        )
    return Check(name, " ".join(raised), finding)


def _and_more(names: Sequence[str]) -> str:
    return f'"{names[0]}"' + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def encoder_checks(found) -> list[Check]:
    """Of a finished encoder on test patients; `found` as from `probing.temporal.findings`."""
    return [
        spread(found.rank, found.spread, found.dtype),
        embedding(found.retrieval),
        blank(found.retrieval, found.embeds_time),
        target(found.target),
        time_used(found),
    ]


def spread(rank: float, share: float, dtype: str = "float32") -> Check:
    """Of test features: effective rank without their mean, and deviation / length.

    NaN of what too few series cannot tell. dtype: of the encoder's computation, whose rounding has
    a high rank and a spread of its own.
    """
    name = "collapse of the test features"
    if math.isnan(share):
        return Check(f"{name} (one test series)", "", "")
    finding = "" if math.isnan(rank) else f"effective rank {rank:.1f} without their mean, "
    finding += f"series differ by {100 * share:.2g} % of a feature"
    bad = rank < COLLAPSED_RANK or share < COLLAPSED_SPREAD[dtype]
    alarm = f"The features have collapsed: all test series look nearly alike ({finding})."
    return Check(name, alarm if bad else "", finding)


def embedding(found) -> Check:
    """Of what the contrastive loss compares, by the rule for training."""
    name = "collapse of the test embeddings"
    if found is None:
        return Check(name, "", "")
    rank = None if math.isnan(found.rank) else found.rank
    rows = [{"effective_rank": rank, "inter_cosine": found.inter_cosine}]
    return collapse(rows)._replace(name=name)


def blank(found, embeds_time: bool = True) -> Check:
    """Top-1 retrieval of test series without images: exact binomial bound (Clopper and Pearson
    1934) above chance, and well above it. Of the two views of a series only one is counted as a
    trial, for their retrievals depend on each other. Fewer than FEW series tell nothing.

    embeds_time: else the encoder knows no more of time than how many frames there are, and where.
    """
    name = "blank images, test series"
    if found is None:
        return Check(name, "", "")
    if not math.isfinite(found.blank_top1):
        alarm = "The embeddings of blank images are not finite: what the clock gives is not known."
        return Check(name, alarm, "not finite")
    hits = math.floor(found.blank_top1 * found.series + 1e-6)
    low = float(beta.ppf(CERTAIN, hits, found.series - hits + 1)) if hits else 0.0
    finding = (
        f"top-1 {found.blank_top1:.3f} with blank images and {found.top1:.3f} with their own, "
        f"chance {found.chance:.3f}, {found.series} series"
    )
    if found.series < FEW:
        return Check(name, "", f"{finding}, too few to judge")
    bad = low > found.chance and found.blank_top1 > WELL_ABOVE * found.chance
    what, remedy = "the number and the places of the frames", "clips.drop"
    if embeds_time:
        what = "the timestamps"
        remedy = f"augment.time_shift, time_scale, interval_scale, time_jitter or {remedy}"
    alarm = (
        f"The contrastive task is solved from {what} alone: {finding}. Raise {remedy}; pretrain "
        "anew."
    )
    return Check(name, alarm if bad else "", finding)


def target(found) -> Check:
    """How far the latent target moves when patients exchange their images."""
    name = "latent target with exchanged images"
    if found is None:
        return Check(name, "", "")
    finding = f"moves by {100 * found.moved:.3g} % of its spread, cosine {found.cosine:.4f}"
    bad = found.moved < BLIND or found.cosine > ALIKE
    alarm = f"The latent target does not depend on the image: with another patient's it {finding}."
    return Check(name, alarm if bad else "", finding)


def time_used(found) -> Check:
    """Whether the time embedding makes a difference: to CLS, when times are taken away or scaled,
    or to the tokens, from which elapsed time should be read better than without times."""
    name = "time embedding"
    moves = [move for move in (found.blank, found.scaled) if move is not None]
    if not found.embeds_time or not moves:
        return Check(name, "", "" if found.embeds_time else "there is none")
    finding = f"without times CLS moves by {100 * max(moves):.2g} % of the way between patients"
    if found.gain is not None:
        finding += f", times add {found.gain:.2f} to the R2 of elapsed time"
    bad = max(moves) < IGNORED and (found.gain is None or found.gain < REGAINED)
    return Check(name, f"The time embedding is ignored: {finding}." if bad else "", finding)
