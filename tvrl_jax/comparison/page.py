"""report.html of a comparison: the answer first, then what it rests on."""

from collections.abc import Sequence
from pathlib import Path

from tvrl_jax.comparison import claims, figures, summary
from tvrl_jax.comparison.faults import Faults
from tvrl_jax.comparison.plan import Plan
from tvrl_jax.comparison.summary import Grid, Results, Setting
from tvrl_jax.report import compare, naming, wording
from tvrl_jax.report import facts as settings_facts
from tvrl_jax.report.curves import SMOOTH_FROM
from tvrl_jax.report.page import (
    Alarm,
    Bullets,
    Facts,
    Fold,
    Picture,
    Section,
    Strong,
    Table,
    Text,
    write_report,
)

STRONG = (claims.AHEAD, claims.BEHIND)
NOTES = (
    "Methods differ in the keys listed above and in no other.",
    "Intervals are 95 % intervals over test patients (Student's t with bootstrap standard errors, "
    "on the logit scale of what ranks) and, with two or more of them, over draws of labels. "
    "Differences are of the same resampled patients and draws.",
    "The method that is taken away in a title is chosen on the test patients, which favours it.",
    "An untrained encoder has the architecture of the method in brackets, and of all methods with "
    "the same.",
)


def write(
    path: Path, plan: Plan, results: Results, facts: Sequence[tuple[str, str]], found: Faults
) -> None:
    """`facts`: name and value of what the numbers were made with."""
    write_report(path, sections(plan, results, facts, found), title=f"Methods on {plan.cohort}")


def sections(
    plan: Plan, results: Results, facts: Sequence[tuple[str, str]], found: Faults
) -> list[Section]:
    made = [
        Section("", _head(facts, found)),
        *_results(plan, results),
        _efficiency(plan, results),
        _training(plan),
        Section("Cost", [_table(summary.cost(plan), left=3)]),
        _methods(plan),
        Section("Notes", _notes(plan, results, found)),
    ]
    return [section for section in made if section.parts]


def _head(facts: Sequence[tuple[str, str]], found: Faults) -> list:
    lines = [*(f"Not done: {line}." for line in found.undone), *found.alarms]
    return [Facts(facts), *([Alarm(lines)] if lines else [])]


def _results(plan: Plan, results: Results) -> list[Section]:
    """The most labels of each probe at once, fewer labels folded."""
    made = []
    for probe in plan.config.probes:
        settings = [at for at in summary.settings_of(results) if at.probe == probe]
        if not settings:
            continue
        parts = _at(plan, results, settings[0])
        parts += [Fold(wording.heading(*at), _at(plan, results, at)) for at in settings[1:]]
        made.append(Section(wording.heading(*settings[0]).capitalize(), parts))
    return made


def _at(plan: Plan, results: Results, at: Setting) -> list:
    parts = [_table(summary.scores(plan, results, at))]
    figure = figures.forest(plan, results, at)
    if figure:
        own = [name for name in plan.config.against if name in plan.config.methods]
        caption = (
            "Each method minus the one in the title, with 95 % intervals: that of "
            f"{', '.join(map(naming.method_text, own))} which is best at the task (untrained "
            "encoders and the constant predictor are not among them). Right of the line is better; "
            "filled: the interval does not hold 0, uncorrected, and the test patients are not too "
            "few (!)."
        )
        parts.append(Picture(figure, "Differences to the best of the others named", caption))
    tested = claims.table(plan, results, at)
    if tested.rows:
        parts += [Text(claims.verdict(tested, at)), _table(tested, left=3)]
    parts.append(Fold("All metrics", [_all_metrics(plan, results, at)]))
    return parts


def _all_metrics(plan: Plan, results: Results, at: Setting) -> Table:
    names = summary.methods_of(plan, results, at)
    rows = [row for row in results.by_key.values() if row["probe"] == at.probe]
    lines = compare.compare(rows, names, at.fraction, probe=at.probe)
    head, body = wording.grid(lines, names)
    note = wording.note(lines, plan.config.probe.seeds)
    return Table(head, body, note=f"{note}{_about_marks(plan, lines)}", left=2)


def _about_marks(plan: Plan, lines: Sequence[compare.Line]) -> str:
    """What the note of a probe's table does not say: it knows of one pretraining alone."""
    several, text = len(plan.config.seeds) > 1, ""
    if several:
        seeds = ", ".join(map(str, plan.config.seeds))
        text = f" Seeds are those of the probe; the pretraining seeds {seeds} are averaged, too."
    if any(cell and cell.best for line in lines for cell in line.cells):
        text += " A * is not corrected for the number of tasks and metrics"
        text += ", and does not ask whether the pretraining seeds agree." if several else "."
    return text


def _efficiency(plan: Plan, results: Results) -> Section:
    parts = []
    for probe in plan.config.probes:
        figure = figures.label_efficiency(plan, results, probe)
        if figure:
            caption = (
                f"{probe} probe: score against the share of labelled training patients. Bands: "
                "95 % intervals of the claimed methods. What is far below chance leaves "
                "the frame, but for the best point of its line."
            )
            parts.append(Picture(figure, f"Label efficiency, {probe} probe", caption))
    return Section("How many labels it takes", parts)


def _training(plan: Plan) -> Section:
    figure = figures.training(plan)
    if not figure:
        return Section("Training", [])
    caption = (
        f"Pretraining seed {plan.config.seeds[0]}; running means where {SMOOTH_FROM} or more rows "
        "were logged. The losses are of different things and cannot be compared between methods."
    )
    return Section("Training", [Picture(figure, "Training curves of each method", caption)])


def _methods(plan: Plan) -> Section:
    shared = settings_facts.flat(plan.config.to_dict()["shared"])
    rows = [[key, value] for key, value in shared.items()]
    return Section(
        "What differs between the methods",
        [
            _table(summary.differences_between_methods(plan), left=1 + len(plan.pretraining)),
            Fold("What they share", [Table(("key", "value"), rows, left=2)]),
        ],
    )


def _notes(plan: Plan, results: Results, found: Faults) -> list:
    parts = [Bullets([*NOTES, *_horizons(plan, results)])]
    if found.notes:
        parts += [Text(summary.about_notes(plan)), Bullets(found.notes)]
    return parts


def _horizons(plan: Plan, results: Results) -> list[str]:
    metrics = (row["metric"] for row in results.rows)
    return naming.about_horizons(metrics, plan.config.shared.data.time_unit)


def _table(grid: Grid, left: int = 1) -> Table:
    rows = [[Strong(cell) if cell in STRONG else cell for cell in row] for row in grid.rows]
    return Table(grid.head, rows, note=grid.note, left=left)
