"""Cohorts whose table, or whose files, are not what they should be."""

import csv
import io
import os
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from configs import base
from tvrl_jax.data import opening

from . import mutate
from .law import Target

HEADER = ("subject", "path", "time", "series", "split", "event", "duration", "y", "slice")
TIMES = ("0", "1.5", "-3", "nan", "inf", "1e308", "-1e308", "2020-01-01", "", "1 2", "[0,1,2]")
PATHS = ("../sentinel/secret.npy", "/dev/zero", "/dev/random", "/etc/passwd", "~/x", "pipe.npy",
         "link.npy", "loop.npy", "folder", "folder/../a.npy", "//a.npy", "a.npy/", ".", "..", "",
         "/proc/self/mem", "a.npy\0", "x" * 300, "/proc/kmsg", "{subject}", "*")  # fmt: skip
DATES = ("2019-03-07", "2020-02-29T10:30")
SPLITS = ("train", "val", "test", "TRAIN", "tran", "", "x" * 9000, "train\n")
KEYS = {
    "data.time_unit": ("s", "years", "frames", "ms", "days"),
    "data.column_unit": ("", "days", "frames", "years"),
    "data.on_bad": ("stop", "skip"),
    "data.targets": ((), ("y:regression",), ("y:classification",), ("event:regression",)),
    "data.columns.time": ("", "time"),
    "data.columns.series": ("", "series", "{series}_{y}", "{", "{}", "{series!x}", "{a.b}"),
    "data.columns.split": ("", "split", "y"),
    "data.columns.event": ("", "event"),
    "data.columns.duration": ("", "duration"),
    "data.columns.slice": ("", "", "slice"),
    "data.columns.times": ("", "", "time"),
    "data.columns.path": ("path", "path", "path", "{path}", "{subject}.npy"),
    "data.subject_csv": ("", "", "", "cohort.csv", "../cohort.csv", "folder"),
    "data.csv": ("cohort.csv",) * 20 + ("*.npy", "**", "[", "../*", "/proc/*/mem", "folder", "\0"),
}


def _cell(rng: np.random.Generator, name: str, n: int, dated: bool) -> str:
    if rng.random() < 0.004:
        return str(mutate.pick(rng, mutate.WORDS))
    odd = rng.random() < 0.01
    if name == "subject":
        return f"s{n // 2}"
    if name == "path":
        return str(mutate.pick(rng, PATHS)) if odd else f"{'abcd'[n % 4]}.npy"
    if name == "time":
        usual = DATES[n % 2] if dated else str(n % 2)
        return str(mutate.pick(rng, TIMES)) if odd else usual
    if name == "split":
        return str(mutate.pick(rng, SPLITS)) if odd else ("train", "val")[n // 2 % 2]
    if name == "event":
        return str(mutate.pick(rng, ("2", "-1", "yes", "0.5", ""))) if odd else str(n % 2)
    return str(mutate.pick(rng, TIMES)) if odd else str(n % 3)


def table(rng: np.random.Generator) -> bytes:
    names = [name for name in HEADER if rng.random() < 0.99]
    if rng.random() < 0.03:
        names[int(rng.integers(len(names)))] = str(mutate.pick(rng, (*HEADER, *mutate.WORDS)))
    dated = rng.random() < 0.2
    rows = [[_cell(rng, name, n, dated) for name in names] for n in range(4)]
    text = io.StringIO()
    csv.writer(text, lineterminator=str(mutate.pick(rng, ("\n", "\r\n")))).writerows([names, *rows])
    data = text.getvalue().encode("utf-8", "surrogatepass")
    draw = rng.random()
    if draw < 0.15:
        return mutate.bytes_(rng, data)
    if draw < 0.3:
        utf_16 = data.decode(errors="replace").encode("utf-16")
        semicolons, returns = data.replace(b",", b";"), data.replace(b"\n", b"\r")
        marked = b"\xef\xbb\xbf" + data
        return mutate.pick(rng, (marked, utf_16, semicolons, returns, b"", b"\0" * 99))
    if draw < 0.31:
        return data + b"s9," + b"x" * 1_000_000 + b"\n"
    if draw < 0.315:
        return b",".join(b"c%d" % n for n in range(50_000)) + b"\n" + data
    return data


def _files(rng: np.random.Generator, folder: Path) -> None:
    for name in "abcd":
        shape = (1, 4, 4) if rng.random() < 0.9 else mutate.pick(rng, ((4, 4), (3, 4, 4)))
        np.save(folder / f"{name}.npy", rng.integers(0, 255, shape).astype(np.uint8))
    os.mkfifo(folder / "pipe.npy")
    os.symlink("/dev/zero", folder / "link.npy")
    os.symlink("loop.npy", folder / "loop.npy")
    (folder / "folder").mkdir()


def make(rng: np.random.Generator, folder: Path) -> ConfigDict:
    root = folder / "root"
    root.mkdir()
    _files(rng, root)
    (root / "cohort.csv").write_bytes(table(rng))
    config = base.get_config()
    config.data.update({"root": str(root), "image_size": 4, "store": str(folder / "store")})
    config.data.update({"csv": "cohort.csv", "frame_interval": 1.0, "threads": 1})
    for key in config.data.columns:
        config.data.columns[key] = key if key in HEADER[:7] else ""
    for key, values in KEYS.items():
        if rng.random() < 0.5:
            config.update_from_flattened_dict({key: mutate.pick(rng, values)})
    if rng.random() < 0.2:
        _spoil_store(rng, config)
    return config.data


def _spoil_store(rng: np.random.Generator, config: ConfigDict) -> None:
    """What an earlier start wrote was damaged since."""
    try:
        opening.open_cohort(config.data)
    except Exception:
        return
    for path in sorted(Path(config.data.store).rglob("*")):
        if path.is_file() and rng.random() < 0.7:
            words = (b"[]", b"{}", b"null", b"0", b"", mutate.bytes_(rng, path.read_bytes()))
            path.write_bytes(mutate.pick(rng, words))


def open_all(data: ConfigDict) -> None:
    """As a run opens a cohort and looks at it."""
    store = opening.open_cohort(data)
    store.class_counts()
    store.targets()
    for n in range(len(store.series)):
        store.frames(n, [0])


TARGETS = (Target("cohort", make, open_all, weight=12),)
