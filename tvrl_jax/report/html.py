"""report.html: what a run and its probe left behind, gathered into one page.

`gather` reads, and says so where one is missing:

  config.json, metrics.jsonl   of the run folder
  samples.npz                  of the run folder: `augmented` [N, V, T, H, W, C], uint8
  results.csv                  of the probe folder (else the run folder)
  predictions_PROBE.npz        of the probe folder (else the run folder), one for each kind of
                               probe, for N test series: label/TASK [N] values or class codes,
                               NaN = missing; classes/TASK names, empty for regression;
                               prediction/METHOD/TASK [N, K]; feature/METHOD [N, D]
  temporal.npz                 of the probe folder: what `report.temporal` draws
  checks_PROBE.json            of the probe folder: what the probes found to beware of
  notes_PROBE.json             of the probe folder: how many labels and test patients were missing
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tvrl_jax.files import artefacts
from tvrl_jax.report import alarms, evidence, facts, temporal, verdict
from tvrl_jax.report.metricslog import FILE, read_metrics
from tvrl_jax.report.page import Alarm, Section, Text, write_report
from tvrl_jax.report.tables import read_results
from tvrl_jax.results import ABOUT_TIME, PREDICTIONS, kinds


class Material(NamedTuple):
    """What was found. Empty = missing."""

    run: Path
    probe: Path
    config: dict
    probes: dict[str, dict]  # name of a probe's settings file -> its content
    metrics: list[dict]
    results: list[dict]
    predictions: dict[str, dict[str, np.ndarray]]  # kind of probe -> its arrays
    augmented: np.ndarray | None
    temporal: dict[str, np.ndarray]  # what the probe of time kept for its pictures
    checks: list[alarms.Check]  # of the probes
    notes: list[str]  # of the probes
    missing: list[str]


def write(material: Material, base: Mapping | None = None) -> Path:
    """Writes report.html into the probe folder; returns its path.

    base: the base configuration, to tell what differs from it.
    """
    path = material.probe / "report.html"
    title = _title(material)
    write_report(path, sections(material, base), title=title)
    return path


def _title(material: Material) -> str:
    method = material.config.get("method") or "A run"
    cohort = material.config.get("data", {}).get("cohort")
    title = f"{method} on {cohort}" if cohort else f"{method} in {material.run}"
    abroad = sorted({str(row["cohort"]) for row in material.results} - {str(cohort)})
    return f"{title}, probed on {', '.join(abroad)}" if cohort and abroad else title


def gather(run: Path, probe: Path) -> Material:
    """Reads whatever is there; lists what is not."""
    where = {
        "config.json": run / "config.json",
        FILE: run / FILE,
        "samples.npz": run / "samples.npz",
        "results.csv": _first(probe, run, "results.csv"),
    }
    missing = [f"{name} (looked for {path})" for name, path in where.items() if not path.is_file()]
    predictions = _predictions(probe) or _predictions(run)
    if not predictions:
        missing.append(f"{PREDICTIONS.format('PROBE')} (looked for in {probe})")
    samples = _arrays(where["samples.npz"])
    return Material(
        run=run,
        probe=probe,
        config=_json(where["config.json"]),
        probes={path.name: _json(path) for path in sorted(probe.glob("probe_*.json"))},
        metrics=read_metrics(where[FILE]) if where[FILE].is_file() else [],
        results=read_results(where["results.csv"]) if where["results.csv"].is_file() else [],
        predictions=predictions,
        augmented=samples.get("augmented"),
        temporal=_arrays(probe / ABOUT_TIME),
        checks=alarms.load(probe),
        notes=facts.load(probe),
        missing=missing,
    )


def _first(probe: Path, run: Path, name: str) -> Path:
    return run / name if (run / name).is_file() and not (probe / name).is_file() else probe / name


def _predictions(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    return {kind: _arrays(folder / PREDICTIONS.format(kind)) for kind in kinds(folder)}


def _json(path: Path) -> dict:
    return artefacts.read_json(path) if path.is_file() else {}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    return artefacts.read_arrays(path) if path.is_file() else {}


def sections(material: Material, base: Mapping | None) -> list[Section]:
    """The page from top to bottom: what to beware of, what came out, what it rests on."""
    checks = all_checks(material)
    raised = [check.alarm for check in checks if check.alarm]
    head = [facts.header(material, time.time())]
    head += [Alarm(raised)] if raised else []
    head += [Text(facts.checked(checks), quiet=True)]
    about_time = temporal.rows_of(material.results)
    scored = temporal.without(material)
    made = [
        Section("", head),
        *([verdict.section(scored.results)] if scored.results or not about_time else []),
        *temporal.sections(about_time, material.temporal),
        *evidence.sections(scored),
        facts.configuration(material, base),
        facts.notes(material),
    ]
    return [section for section in made if section.parts]


def all_checks(material: Material) -> list[alarms.Check]:
    """Of the training log, of what the probes found, and of the results."""
    scores = temporal.without(material).results
    batch_size = material.config.get("train", {}).get("batch_size")
    checks = alarms.check_run(_judged(material), batch_size)
    return [
        *checks,
        *material.checks,
        *(
            alarms.helped(scores, method, fraction, probe)
            for method, probe, fraction in verdict.main_comparison(scores)
        ),
    ]


def _judged(material: Material) -> list[dict]:
    """Rows of the log that tell of the encoder in question: later ones are of another than was
    probed. The page of a run folder is of the whole run."""
    step = None if material.probe == material.run else facts.probed_step(material)
    return [row for row in material.metrics if step is None or row["step"] < step]
