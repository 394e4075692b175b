"""The tables of a comparison as rows of text: results, differences, cost, failures, settings."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tvrl_jax.comparison import collect, record
from tvrl_jax.comparison.plan import TRAIN, Plan, differing, lenders
from tvrl_jax.errors import UserError
from tvrl_jax.probing.rows import ENOUGH
from tvrl_jax.report import alarms, compare, wording
from tvrl_jax.report.alarms import BEYOND_CHANCE
from tvrl_jax.report.metricslog import FILE, read_metrics
from tvrl_jax.report.naming import method_text, metric_text
from tvrl_jax.report.progress import duration
from tvrl_jax.results import ALL, MAIN, MINUS, P_METHODS, P
from tvrl_jax.scalars import is_number

AHEAD, BEHIND, OPEN = "ahead", "behind", "not shown to differ"
TOO_FEW, SPLIT = "too few patients", "seeds disagree"
OF_METHODS = "p of the methods"
METHODS_NOTE = (
    f"{OF_METHODS[0].upper()}{OF_METHODS[1:]}: with the spread over pretraining seeds as a third "
    "error, not corrected."
)


class Grid(NamedTuple):
    """A table whose first column is text."""

    head: list[str]
    rows: list[list[str]]
    note: str = ""


class Results(NamedTuple):
    """The rows of a comparison, and those over all seeds by what they measure."""

    rows: Sequence[Mapping]
    by_key: dict[tuple, Mapping]  # (method, task, probe, fraction, metric) -> row
    per_seed: dict[tuple, list[float]]  # the same -> the value of each pretraining seed

    def find(self, method: str, task: str, at: "Setting", metric: str) -> Mapping | None:
        return self.by_key.get((method, task, *at, metric))


class Setting(NamedTuple):
    """What one table is about."""

    probe: str
    fraction: float  # of the labels


def gather(rows: Sequence[Mapping]) -> Results:
    by_key, per_seed = {}, {}
    for row in (row for row in rows if row["seed"] == ALL):
        key = tuple(row[name] for name in ("method", "task", "probe", "fraction", "metric"))
        if row["pretraining_seed"] == ALL:
            by_key[key] = row
        else:
            per_seed.setdefault(key, []).append(row["value"])
    return Results(rows, by_key, per_seed)


def settings_of(results: Results) -> list[Setting]:
    """Of each table; most labels first."""
    return [Setting(*pair) for pair in compare.settings_of(results.rows)] if results.rows else []


def tasks_of(results: Results, probe: str) -> list[tuple[str, str]]:
    """(task, its main metric), in the order of the rows."""
    main: dict[str, str] = {}
    for method, task, of, _, metric in results.by_key:
        if of == probe and metric in MAIN and MINUS not in method:
            main.setdefault(task, metric)
    return list(main.items())


def methods_of(plan: Plan, results: Results, at: Setting) -> list[str]:
    """The columns that were measured, in the order of the table."""
    there = {key[0] for key in results.by_key if key[2:4] == at}
    return [name for name in collect.names(plan) if name in there]


def heading(results: Results, task: str, metric: str) -> str:
    """A task and its metric."""
    return f"{marked(results, task)} ({metric_text(metric)})"


def marked(results: Results, task: str) -> str:
    """A task, marked where there are few test patients, in all or of a class."""
    return task + (wording.SMALL if task in compare.small(results.rows) else "")


def scores(plan: Plan, results: Results, at: Setting) -> Grid:
    """method x task: the main metric with its interval; the spread over pretraining seeds, too."""
    tasks = tasks_of(results, at.probe)
    head = ["method", *(heading(results, task, metric) for task, metric in tasks)]
    body = []
    for name in methods_of(plan, results, at):
        found = [results.find(name, task, at, metric) for task, metric in tasks]
        body.append([method_text(name), *map(_score, found)])
    return Grid(head, body, _note(plan, results, at))


def _score(row: Mapping | None) -> str:
    if row is None or math.isnan(row["value"]):
        return wording.MISSING
    text = f"{row['value']:.2f}{_interval(row, '.2f')}"
    return text if math.isnan(row["spread"]) else f"{text} ± {row['spread']:.2f}"


def _interval(row: Mapping, form: str) -> str:
    if math.isnan(row["ci_low"]):  # of one patient there is none
        return ""
    return f" [{row['ci_low']:{form}}, {row['ci_high']:{form}}]"


def _note(plan: Plan, results: Results, at: Setting) -> str:
    own = [row for row in results.rows if (row["probe"], row["fraction"]) == at]
    n = sorted({row["n"] for row in own if row["n"]})
    seeds, draws = plan.config.seeds, plan.config.probe.seeds
    several = "patients and draws of labels]", f"mean of {draws} draws of labels"
    over, of = several if draws > 1 else ("patients]", wording.ONE_SEED)
    parts = [
        f"{n[0]} test patients" if n[:1] == n[-1:] else f"{n[0]} to {n[-1]} test patients",
        f"[95 % interval over {over}",
        of,
        f"pretraining seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}",
    ]
    if len(seeds) > 1:
        parts.append(
            "± standard deviation over them, which intervals and p do not contain: they are of "
            "these encoders"
        )
    else:
        parts.append(
            "for these encoders, one pretraining each: how far another one would move the numbers "
            "is not known"
        )
    measured = _seeds(own, plan.config.methods)
    parts += [
        f"{method_text(name)}: seed{'s' * (len(there) > 1)} {', '.join(map(str, there))} alone, "
        "and its differences over these"
        for name, there in measured.items()
        if there != sorted(seeds)
    ]
    parts += [
        f"{method_text(a)} and {method_text(b)}: no seed in common, so that they are not compared"
        for a, b in itertools.product(plan.config.claimed, plan.config.against)
        if a in measured and b in measured and not set(measured[a]) & set(measured[b])
    ]
    parts += [wording.SMALL_NOTE] if compare.small(own) else []
    return "; ".join(parts) + "."


def _seeds(rows: Sequence[Mapping], methods: Sequence[str]) -> dict[str, list[int]]:
    """The pretraining seeds that were measured of each method."""
    found = {name: set() for name in methods}
    for row in rows:
        if row["method"] in found and row["pretraining_seed"] != ALL:
            found[row["method"]].add(row["pretraining_seed"])
    return {name: sorted(there) for name, there in found.items() if there}


def claims(plan: Plan, results: Results, at: Setting) -> Grid:
    """claimed minus against, task by task: difference, interval, p and corrected p.

    A task with too few test patients has neither p, and does not count in the correction. With
    several pretraining seeds each of them must lie on the side that the mean is on: p knows of the
    test patients and the draws of labels, and of no other encoder. "p of the methods", which takes
    ENOUGH of them, does.
    """
    body, few = [], compare.small(results.rows)
    for task, metric in tasks_of(results, at.probe):
        for a in plan.config.claimed:
            for b in plan.config.against:
                found = [
                    results.find(a + MINUS + b, task, at, metric + end)
                    for end in ("", P, collect.HOLM)
                ]
                over = results.find(a + MINUS + b, task, at, metric + P_METHODS)
                named = [
                    task + wording.SMALL * (task in few),
                    method_text(a),
                    method_text(b),
                ]
                if all(found):
                    own = results.per_seed.get((a + MINUS + b, task, *at, metric), [])
                    body.append([*named, *_claim(*found, over, own)])
                elif found[0]:
                    body.append([*named, _gap(found[0]), *[wording.MISSING] * 3, TOO_FEW])
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
    head = ["task", "method", "minus", "difference", "p", "corrected p", OF_METHODS, "verdict"]
    if len(plan.config.seeds) >= ENOUGH:
        parts += [METHODS_NOTE] if tested else []
    else:  # no spread to speak of
        head, *body = [[*row[:-2], row[-1]] for row in (head, *body)]
    return Grid(head, body, " ".join(parts))


def _if_alike(plan: Plan) -> str:
    several = ", where every pretraining seed of both alone has the same sign; of these encoders"
    return several if len(plan.config.seeds) > 1 else ", for these encoders: one pretraining each"


def _claim(
    gap: Mapping, p: Mapping, holm: Mapping, methods: Mapping | None, per_seed: Sequence[float]
) -> list[str]:
    """methods: the row of P_METHODS, None where both have too few pretrainings in common."""
    texts = [wording.MISSING if row is None else _probability(row["value"])
             for row in (p, holm, methods)]  # fmt: skip
    return [_gap(gap), *texts, _word(gap, holm["value"], per_seed)]


def _gap(row: Mapping) -> str:
    return f"{row['value']:+.2f}{_interval(row, '+.2f')}"


def _probability(p: float) -> str:
    if math.isnan(p):
        return wording.MISSING
    if p < 0.0001:
        return "< 0.0001"
    return f"{p:.4f}" if p < 0.1 else f"{p:.2f}"  # 0.049 and 0.051 are two verdicts


def _word(gap: Mapping, p: float, per_seed: Sequence[float]) -> str:
    if not p < BEYOND_CHANCE:
        return OPEN
    if not all(value * gap["value"] > 0 for value in per_seed):
        return SPLIT
    return AHEAD if gap["value"] > 0 else BEHIND


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


def cost(plan: Plan) -> Grid:
    """What each cell took, and how fast the pretraining was."""
    body = []
    for cell in plan.cells:
        made = record.read(cell)
        if made is None or made.code:
            continue
        speed = [wording.MISSING] * 2
        if cell.kind == TRAIN:
            speed = _speed(read_metrics(cell.folder / FILE))
        took = duration(made.seconds)
        body.append([cell.method, str(cell.seed), cell.kind, took, *speed])
    note = "Wall time of the whole process; a probe's includes the baselines measured beside it."
    return Grid(["method", "seed", "cell", "time", "steps/s", "clips/s"], body, note)


def _speed(metrics: Sequence[Mapping]) -> list[str]:
    """The median of what the log holds: the first entry includes the compilation."""
    texts = []
    for name in ("steps_per_second", "clips_per_second"):
        values = sorted(row[name] for row in metrics if is_number(row.get(name)))
        texts.append(f"{values[len(values) // 2]:.3g}" if values else wording.MISSING)
    return texts


def failures(plan: Plan) -> list[str]:
    """A sentence for every cell that is not done."""
    found = []
    for cell in plan.cells:
        made = record.read(cell)
        if made is None or not record.same(made, cell):
            found.append(f"{cell.name}: not run yet")
        elif made.code:
            # A probe whose pretraining failed was not begun: its log, if any, is of another time.
            log = "" if made.reason == record.NOT_TRAINED else f" ({record.log_of(cell)})"
            # Of an architecture, one probe alone measures it.
            lost = "; so the table lacks its untrained encoder" * ("untrained" in cell.baselines)
            found.append(f"{cell.name}: {made.reason.rstrip('.')}{log}{lost}")
    return found


def raised(plan: Plan, results: Results) -> list[str]:
    """The alarms of the cells that are done: of the pretrainings' own checks, and of the probes',
    such as patients of pretraining among the test patients. What all seeds say is said of each.
    Then those about the table: what is no better than the same encoder untrained."""
    found = []
    for cell in plan.cells:
        if not record.is_done(plan, cell):
            continue
        try:
            checks, log = alarms.load(cell.folder), cell.folder / FILE
        except UserError as error:
            found.append(f"{cell.name}: {error}")
            continue
        if cell.kind == TRAIN and log.is_file():
            own = plan.pretraining[cell.method].train
            checks = alarms.check_run(read_metrics(log), own.batch_size)
        found += [f"{cell.name}: {check.alarm}" for check in checks if check.alarm]
    return found + _unhelped(plan, results)


def _unhelped(plan: Plan, results: Results) -> list[str]:
    """Of each method and probe with most labels, over all pretraining seeds."""
    most: dict[str, float] = {}
    for probe, fraction in settings_of(results):
        most.setdefault(probe, fraction)
    lent = {str(plan.pretraining[name].model): name for name in lenders(plan.pretraining)}
    found = []
    for method, config in plan.pretraining.items():
        other = collect.column_name(plan, "untrained", lent[str(config.model)])
        pair = method + MINUS
        named = {method: method, other: "untrained", pair + other: f"{pair}untrained"}
        rows = [
            row | {"method": named[row["method"]]}
            for row in results.rows
            if row["method"] in named and row["pretraining_seed"] == ALL
        ]
        for probe, fraction in most.items():
            alarm = alarms.helped(rows, method, fraction, probe).alarm
            found += [f"{method}: {alarm}"] if alarm else []
    return found


def differences_between_methods(plan: Plan) -> Grid:
    """Keys of the pretraining that are not alike in all methods; the others are."""
    body = [
        [key, *("-" if value is None else str(value) for value in values)]
        for key, values in differing(plan.pretraining).items()
    ]
    note = "Every other key of the configuration is the same for all methods."
    return Grid(["key", *plan.pretraining], body, note)
