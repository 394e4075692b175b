"""Run and probe folders that were damaged after they were written."""

import json
from pathlib import Path

import numpy as np

from configs import tvrl
from tvrl_jax import settings
from tvrl_jax.checkpoint import reading
from tvrl_jax.errors import UserError
from tvrl_jax.files import run_folder
from tvrl_jax.probing import predictions
from tvrl_jax.report import html, metricslog, tables
from tvrl_jax.results import COLUMNS

from . import arrays, mutate
from .law import Target

JSON = (b"", b"null", b"[]", b"{}", b"3", b'"x"', b"[[1]]", b'{"a": NaN}', b"[" * 3000)
JSON += (b"\xff\xfe", b'{"data": 3, "method": []}', b'{"step": null}', b'{"loss": "x"}', b"\0")
ROW = b'{"step": 0, "loss": 1.0}\n'
ROWS = (b'{"step": "x", "loss": 1}\n', b'{"step": 1, "loss": null}\n', b'{"step": 1e999}\n')
ROWS += (b'{"step": [1], "loss": {}}\n', b'{"step": 2, "loss": NaN}\n', b"9" * 5000 + b"\n")


def _results(rng: np.random.Generator) -> bytes:
    row = ["tvrl", "c", "t", "linear", "1.0", "0", "auroc", "0.5", "0.4", "0.6", "10"]
    if rng.random() < 0.2:
        row[int(rng.integers(len(row)))] = str(mutate.pick(rng, mutate.WORDS))
    return f"{','.join(COLUMNS)}\n{','.join(row)}\n".encode("utf-8", "replace")


def _texts(rng: np.random.Generator) -> dict[str, bytes]:
    check = [{"name": "n", "alarm": "", "finding": "f"}]
    return {
        "config.json": settings.to_json(tvrl.get_config()).encode(),
        "metrics.jsonl": b"".join(
            mutate.pick(rng, ROWS) if rng.random() < 0.05 else ROW for _ in range(3)
        ),
        "results.csv": _results(rng),
        "checks_linear.json": json.dumps(check).encode(),
        "probe_linear.json": b"{}",
        "checkpoints/3/metrics/metrics": b'{"loss": 1.0}',
    }


def make(rng: np.random.Generator, folder: Path) -> Path:
    run = folder / "run"
    (run / "checkpoints" / "3" / "metrics").mkdir(parents=True)
    for name, data in _texts(rng).items():
        draw = rng.random()
        if draw < 0.06:
            data = mutate.pick(rng, JSON)
        elif draw < 0.12:
            data = mutate.bytes_(rng, data)
        if draw < 0.98:
            (run / name).write_bytes(data)
    for name in ("samples.npz", "predictions_linear.npz"):
        if rng.random() < 0.2:
            Path(arrays.make_npz(rng, run)).rename(run / name)
        else:
            np.savez(run / name, augmented=np.zeros((2, 1, 2, 4, 4, 1), np.uint8))
    return run


def read(run: Path) -> None:
    """Everything that is read back, each on its own; the first refusal is the answer."""
    said = []
    for call in (
        lambda: run_folder.read(run),
        lambda: metricslog.read_metrics(run / "metrics.jsonl"),
        lambda: tables.read_results(run / "results.csv"),
        lambda: predictions.read(run, "linear"),
        lambda: reading._saved_metric(run / "checkpoints" / "3"),
        lambda: html.gather(run, run),
    ):
        try:
            call()
        except UserError as error:
            said.append(error)
    if said:
        raise said[0]


TARGETS = (Target("run-folder", make, read, weight=8),)
