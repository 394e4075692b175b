"""What the numbers of a comparison were made with."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tvrl_jax.comparison import record
from tvrl_jax.comparison.plan import Plan
from tvrl_jax.report import facts
from tvrl_jax.report.naming import method_text
from tvrl_jax.report.progress import duration

ASK = "import jax; d = jax.devices(); print(f'{len(d)} x {d[0].device_kind}')"


def pairs(plan: Plan, command: str) -> list[tuple[str, str]]:
    """Name and value, a line each."""
    seeds, trained = plan.config.seeds, plan.pretraining.items()
    done = [made for cell in plan.cells if (made := record.read(cell)) and not made.code]
    budget = {m: f"{c.train.steps} steps of {c.train.batch_size} series" for m, c in trained}
    size = {m: f"{c.model.arch}, {c.model.image_size} pixels" for m, c in trained}
    return [
        ("command", command),
        ("budget", _alike(budget)),
        ("model", _alike(size)),
        ("seeds", f"pretraining {_list(seeds)}; probe {_list(range(plan.config.probe.seeds))}"),
        ("cells", f"{len(done)} of {len(plan.cells)} done"),
        ("time", f"{duration(sum(made.seconds for made in done))} in all cells"),
        ("written on", f"{processor()}, {os.cpu_count()} cores; {devices()}"),
        ("versions", facts.versions()),
    ]


def _alike(of_method: dict[str, str]) -> str:
    """What all methods have in common, or what each has."""
    if len(set(of_method.values())) == 1:
        return f"{next(iter(of_method.values()))}, the same for each method"
    return "; ".join(f"{method_text(name)}: {text}" for name, text in of_method.items())


def _list(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()


def devices() -> str:
    """Asked of a process of its own: here JAX would take an accelerator's memory and keep it."""
    asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "no device"
