"""table.md: the comparison as text, to be read as it is or put into a README."""

import re
from collections.abc import Sequence

from tvrl_jax.comparison import claims, summary
from tvrl_jax.comparison.faults import Faults
from tvrl_jax.comparison.plan import Plan
from tvrl_jax.comparison.summary import Grid, Results
from tvrl_jax.report import wording


def text(plan: Plan, results: Results, facts: Sequence[tuple[str, str]], found: Faults) -> str:
    """`facts`: name and value of what the numbers were made with."""
    parts = [f"# Methods on {plan.cohort}"]
    parts.append("\n".join(f"* {name}: {value}" for name, value in facts))
    for title, lines in (("Not done", found.undone), ("Alarms", found.alarms)):
        if lines:
            parts += [f"## {title}", "\n".join(f"* {line}" for line in lines)]
    for at in summary.settings_of(results):
        parts.append(f"## {wording.heading(*at)}")
        parts.append(table(summary.scores(plan, results, at)))
        tested = claims.table(plan, results, at)
        parts += [claims.verdict(tested, at), table(tested)] if tested.rows else []
    parts += ["## Cost", table(summary.cost(plan))]
    parts += ["## What differs between the methods"]
    parts += [table(summary.differences_between_methods(plan))]
    if found.notes:
        parts += ["## Notes", summary.about_notes(plan)]
        parts.append("\n".join(f"* {_cell(line)}" for line in found.notes))
    return "\n\n".join(parts) + "\n"


def table(grid: Grid) -> str:
    rows = [grid.head, ["---"] * len(grid.head), *grid.rows]
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join(lines) + (f"\n\n{grid.note}" if grid.note else "")


def _cell(text: str) -> str:
    """What Markdown would take for the end of a cell or for HTML, such as a name with <b>."""
    return re.sub(r"\||<(?=[A-Za-z/!])", r"\\\g<0>", text)
