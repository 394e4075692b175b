"""The end of a command's output: where its report lies, its alarms, and what was checked."""

from collections.abc import Mapping
from pathlib import Path

from tvrl_jax.report import alarms, facts, html


def tell(run: Path, probe: Path, base: Mapping) -> None:
    """Writes report.html into the probe folder, which may be the run's, and prints the rest."""
    material = html.gather(run, probe)
    print(f"report: {html.write(material, base)}")
    checks = html.all_checks(material)
    print(f"{alarms.summary(checks)}\n{facts.checked(checks)}")
