"""The report's small print, which is not small: where, when, with what, and what is missing."""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from tvrl_jax.errors import UserError
from tvrl_jax.files import artefacts, whole_file
from tvrl_jax.report import compare, naming
from tvrl_jax.report.alarms import Check
from tvrl_jax.report.page import Bullets, Facts, Fold, Section, Table, Text

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scipy", "pandas")


def header(material, now: float) -> Facts:
    """Run, cohort, progress, seeds, and where and when the page was written. `now`: seconds since
    1970."""
    config, results = material.config, material.results
    cohorts = dict.fromkeys(row["cohort"] for row in results)
    probes = dict.fromkeys(probe for probe, _ in compare.settings_of(results)) if results else {}
    pairs = [
        ("method", config.get("method", "")),
        ("cohort", ", ".join(cohorts) or config.get("data", {}).get("cohort", "")),
        ("probes", ", ".join(probes)),
        ("run folder", str(material.run)),
        ("probe folder", str(material.probe) if material.probe != material.run else ""),
        ("training", _progress(config, material.metrics)),
        ("probed checkpoint", _probed(material)),
        ("seeds", _seeds(config, results)),
        ("written on", f"{_device()}; {os.cpu_count()} CPU cores, {platform.machine()}"),
        ("versions", versions()),
        ("written", time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(now))),
    ]
    return Facts([(name, value) for name, value in pairs if value])


def probed_step(material) -> int | None:
    """The step of the checkpoint that the probes of a folder are of, which may be an earlier one
    than the last; None without a probe. One folder holds the probes of one step."""
    steps = (settings.get("step") for settings in material.probes.values())
    return next((step for step in steps if isinstance(step, int)), None)


def _probed(material) -> str:
    step, metrics = probed_step(material), material.metrics
    if step is None:
        return ""
    done = metrics[-1]["step"] + 1 if metrics else step
    later = f"; the run has gone on to step {done}, which these results do not know of"
    return f"step {step}{later if done > step else ''}"


def _device() -> str:
    import jax  # only here: it takes a second

    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind}"


def versions() -> str:
    """Python and the packages that numbers depend on."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def _progress(config: Mapping, metrics: Sequence[Mapping]) -> str:
    if not metrics:
        return ""
    total = config.get("train", {}).get("steps")
    done = metrics[-1]["step"] + 1
    if not total or done >= total:
        return f"{done} steps"
    return f"{done} of {total} steps are in the log: the run had not finished"


def _seeds(config: Mapping, results: Sequence[Mapping]) -> str:
    seeds = sorted({row["seed"] for row in results if isinstance(row["seed"], int)})
    parts = [f"pretraining {config['seed']}"] if "seed" in config else []
    parts += [f"probe {', '.join(map(str, seeds))}"] if seeds else []
    return "; ".join(parts)


def checked(checks: Sequence[Check]) -> str:
    """One paragraph: what was looked at and found in order, and what could not be looked at."""
    fine = dict.fromkeys(f"{check.name} ({check.finding})" for check in checks if check.finding)
    blind = dict.fromkeys(check.name for check in checks if not check.finding)
    text = f"Checked: {'; '.join(fine)}." if fine else "Nothing could be checked."
    return text + (f" Not recorded, so not checked: {'; '.join(blind)}." if blind else "")


def configuration(material, base: Mapping | None) -> Section:
    """What differs from the base configuration, and the whole."""
    config = flat(material.config)
    parts = []
    if not config:
        parts.append(Text("No config.json: the settings of this run are not known."))
    elif base is None:
        parts.append(Text("The base configuration is not at hand, so no differences are listed."))
    else:
        parts.append(_differences(config, flat(base)))
    for name, content in {"config.json": material.config, **material.probes}.items():
        if content:
            rows = [[key, value] for key, value in flat(content).items()]
            parts.append(Fold(f"All of {name}", [Table(("key", "value"), rows, left=2)]))
    return Section("Configuration", parts)


def _differences(config: Mapping[str, str], base: Mapping[str, str]) -> Table | Text:
    rows = [
        [key, value, base.get(key, "-")] for key, value in config.items() if base.get(key) != value
    ]
    rows += [[key, "-", value] for key, value in base.items() if key not in config]
    if not rows:
        return Text("Every key has its value of the base configuration.")
    return Table(("key", "here", "base"), rows, left=3)


def flat(config: Mapping, prefix: str = "") -> dict[str, str]:
    """Dotted key -> value as JSON; tuples and lists are one thing."""
    found = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value, default=list)
    return found


NOTES = "notes_{}.json"  # of a probe folder, one for each kind of probe


def save(folder: str | Path, kind: str, sentences: Sequence[str]) -> None:
    """What a reader of a probe's numbers must know, kept for every later report of its folder."""
    text = json.dumps(list(sentences), indent=1) + "\n"
    whole_file.write(Path(folder) / NOTES.format(kind), text)


def load(folder: str | Path) -> list[str]:
    """The sentences of all probes of a folder; what several say alike is there once."""
    found = []
    for path in sorted(Path(folder).glob(NOTES.format("*"))):
        sentences = artefacts.read_json(path, list)
        if not all(isinstance(text, str) for text in sentences):
            raise UserError(f"{path} is damaged: it must list text; run the probe again.")
        found += sentences
    return list(dict.fromkeys(found))


def notes(material) -> Section:
    """How the numbers were made, and what is missing."""
    items = list(material.notes)
    results = material.results
    if results:
        # What is not defined rests on 0, and that is not how few patients the numbers rest on.
        n = sorted({row["n"] for row in results if row["n"]}) or [0]
        span = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
        items += [
            f"n is the number of test patients with a value of the target: {span} here.",
            "Intervals are 95 % intervals by Student's t with bootstrap standard errors, on the "
            "logit scale of what ranks and the logarithm of errors. Patients are resampled, with "
            "all their series, and of a mean over several seeds the spread among them is added: "
            "they tell how much the number would move with other test patients and other draws of "
            "labels, not with another pretraining seed.",
            "Intervals are not corrected for the number of tasks.",
        ]
        unit = material.config.get("data", {}).get("time_unit", "")
        items += naming.about_horizons((row["metric"] for row in results), unit)
    if material.missing:
        items.append(f"Missing when this was written: {'; '.join(material.missing)}.")
    return Section("Notes", [Bullets(items)] if items else [])
