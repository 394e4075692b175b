"""A cohort of a few small files and a nano configuration for it."""

from pathlib import Path

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

FRAMES, SIZE = 12, 32


def write_cohort(root: Path, subjects: int = 24, seed: int = 0) -> None:
    """Beating discs in .npy files with a table: size, whether it is large, and a split."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(subjects):
        radius, rate = rng.uniform(4, 10), rng.uniform(0.5, 1.5)
        beat = radius * (1 + 0.3 * np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES))
        y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
        disc = np.hypot(x, y)[None] < beat[:, None, None]
        frames = 40 + 150 * disc + rng.normal(0, 8, disc.shape)
        np.save(root / f"s{i:02d}.npy", np.clip(frames, 0, 255).astype(np.uint8))
        split = ("train", "train", "val", "test")[i % 4]
        rows.append(
            dict(subject=f"s{i:02d}", path=f"s{i:02d}.npy", split=split, radius=radius, rate=rate)
        )
    table = pd.DataFrame(rows)
    table["large"] = (table.radius > table.radius.median()).astype(int)
    table.to_csv(root / "cohort.csv", index=False)


def shrink(config: ConfigDict, root: Path) -> ConfigDict:
    """The method of `config` on the cohort of `write_cohort`, as small as it goes."""
    config.update_from_flattened_dict(_changes(root))
    columns = config.data.columns
    for name in columns:
        columns[name] = name if name in ("subject", "path", "split") else ""
    return config


def flags(root: Path, method: str = "tvrl", **changes) -> list[str]:
    """The same as arguments of train.py; `changes` by dotted key."""
    columns = {f"data.columns.{name}": "" for name in ("time", "slice", "series", "times")}
    columns["data.columns.split"] = "split"
    values = {**_changes(root), **columns, **changes}
    return [f"--config=configs/{method}.py", *(f"--config.{k}={v}" for k, v in values.items())]


def _changes(root: Path) -> dict:
    return {
        "data.cohort": "tiny",
        "data.root": str(root),
        "data.csv": "cohort.csv",
        "data.subject_csv": "",
        "data.phantom.kind": "",
        "data.targets": ("radius:regression", "large:classification"),
        "data.time_unit": "s",
        "data.frame_interval": 0.04,
        "data.image_size": SIZE,
        "data.pixel_mm": 0.0,
        "data.fit": "pad",
        "data.store": str(root / "store"),
        "clips.frames": 4,
        "clips.stride": 1,
        "model.arch": "nano",
        "model.image_size": 32,
        "model.temporal_depth": 1,
        "model.temporal_width": 0,
        "model.head_hidden": 32,
        "model.head_width": 16,
        "model.dropout": 0.0,
        "train.steps": 6,
        "train.batch_size": 8,
        "train.checkpoint_every": 3,
        "log.every": 2,
        "log.diagnose_every": 4,
        "log.tensorboard": False,
        "log.compilation_cache": "",
    }
