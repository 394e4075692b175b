"""The report's first answer: which method predicts what, and how surely."""

from collections.abc import Mapping, Sequence

from tvrl_jax.report import compare, plots, wording
from tvrl_jax.report.naming import method_text, metric_text
from tvrl_jax.report.page import Fold, Picture, Section, Strong, Table, Text
from tvrl_jax.results import BASELINES, COLUMNS, MINUS, SPREAD

ABOUT_SPREAD = "How much a score depends on the draw of labels and on the start of the fit"
NO_SKILL = {
    "r2": 0.0,
    "auroc": 0.5,
    "c_index": 0.5,
}  # the metrics that compare across tasks, for the figure


def section(results: Sequence[Mapping]) -> Section:
    """Tables for every probe and label fraction, and the same as figures."""
    if not results:
        return Section("Results", [Text("No results.csv: nothing has been probed yet.")])
    parts = []
    for index, (probe, fraction) in enumerate(compare.settings_of(results)):
        methods = compare.columns_of(results, probe, fraction)
        lines = compare.compare(results, methods, fraction, probe=probe)
        shown = [
            Text(f"{wording.heading(probe, fraction).capitalize()}."),
            table(lines, methods),
            *_figures(lines, methods, compare.methods_of(results)),
        ]
        parts += shown if index == 0 else [Fold(wording.heading(probe, fraction), shown[1:])]
    parts += [Fold(ABOUT_SPREAD, [made]) for made in spread(results)]
    parts.append(Fold(f"All {len(results)} rows of results.csv", [_all_rows(results)]))
    return Section("Results on the test patients", parts)


def main_comparison(results: Sequence[Mapping]) -> list[tuple[str, str, float]]:
    """(method, probe, fraction) of each pretrained method where the most labels are used, of those
    alone that are held against an untrained encoder, if any is: not of another run's (`against`).

    Of its first probe, and of each later one that has tasks of its own, as Cox regression has
    beside a linear probe. Several probes of the same tasks would ask one question several times.
    """
    no_checkpoint = (*BASELINES, *compare.LENT)
    learners = [name for name in compare.methods_of(results) if name not in no_checkpoint]
    apart = {row["method"] for row in results}
    held = [name for name in learners if f"{name}{MINUS}untrained" in apart]
    learners = held or learners
    found = []
    for name in learners:
        asked = set()
        for at in compare.settings_of(results):
            probe, fraction = at
            lines = compare.compare(results, (name,), fraction, probe=probe)
            tasks = {line.task for line in lines}
            if tasks - asked:
                found.append((name, *at))
            asked |= tasks
    return found


def table(lines: Sequence[compare.Line], methods: Sequence[str]) -> Table:
    """A comparison, its surely best cells set in bold."""
    head, body = wording.grid(lines, methods)
    rows = [[Strong(cell) if cell.endswith(wording.BEST) else cell for cell in row] for row in body]
    return Table(head, rows, note=wording.note(lines), left=2)


def spread(results: Sequence[Mapping]) -> list[Table]:
    """The deviations among the fits of each method, task and label fraction; [] without any."""
    rows = [row for row in results if row["metric"].endswith(SPREAD)]
    found: dict[tuple, dict[str, str]] = {}
    for row in rows:
        metric, part = row["metric"].rsplit("_sd_", 1)
        key = (row["method"], row["task"], row["probe"], row["fraction"], metric)
        text = f"{row['value']:.2g} [{row['ci_low']:.2g}, {row['ci_high']:.2g}]"
        found.setdefault(key, {})[part] = text
    parts = [name.removeprefix("_sd_") for name in SPREAD]
    body = [
        [
            method_text(method),
            task,
            f"{probe}, {100 * fraction:g} %",
            metric_text(metric),
            *(texts.get(part, wording.MISSING) for part in parts),
        ]
        for (method, task, probe, fraction, metric), texts in found.items()
    ]
    head = ("method", "task", "probe, labels", "metric", "label draw", "optimisation")
    note = (
        "Standard deviation of the score of one fit [95 % interval over fits]: among draws of the "
        "labelled patients, and among random starts from one draw."
    )
    return [Table(head, body, note=note, left=4)] if body else []


def _figures(lines: Sequence[compare.Line], methods, everyone) -> list[Picture]:
    pictures = []
    for metric, no_skill in NO_SKILL.items():
        own = [line for line in lines if line.metric == metric]
        if own:
            name = metric_text(metric)
            looks = dict(title=name, no_skill=no_skill, everyone=everyone)
            figure = plots.forest(own, methods, **looks)
            alt = f"{name} of each method and task, with intervals; the numbers are in the table"
            pictures.append(Picture(figure, alt))
    return pictures


def _all_rows(results: Sequence[Mapping]) -> Table:
    rows = [[_exact(row[name]) for name in COLUMNS] for row in results]
    return Table(COLUMNS, rows, left=4)


def _exact(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
