"""Recorded numbers of another implementation, and the rule by which ours must meet them.

A recording is `NAME.npz` with arrays under `param/`, `buffer/`, `in/`, `out/`, `grad/` and
`buffer_after/`, and a sidecar `NAME.json` that says how far float32 itself strays on each key.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

PRECISIONS = ("float32", "float64")
UNTIMED_REL, TIMED_REL, EXACT_REL = 2e-7, 1e-6, 1e-9  # float64 runs, of the array's maximum


class Recording(NamedTuple):
    name: str
    about: dict  # the sidecar
    array: Mapping[str, np.ndarray]

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays under `prefix/`, named without it."""
        return {
            k[len(prefix) + 1 :]: v for k, v in self.array.items() if k.startswith(prefix + "/")
        }

    @property
    def timed(self) -> bool:
        """A time embedding took part: its sine and cosine are float32 even in a float64 run."""
        return any("time_embed" in k for k in self.array if k.startswith("param/"))


def load(folder: Path, name: str) -> Recording:
    about = json.loads((folder / f"{name}.json").read_text())
    with np.load(folder / f"{name}.npz") as archive:
        return Recording(name, about, dict(archive))


@contextlib.contextmanager
def precision(name: str):
    """Everything inside runs in this float type; yields the numpy dtype to cast inputs to."""
    with jax.enable_x64(name == "float64"):
        yield np.dtype(name)


def frames_last(clip_BCTHW: np.ndarray, dtype) -> np.ndarray:
    """The recordings' [..., C, T, H, W] -> our [..., T, H, W, C]."""
    return np.moveaxis(clip_BCTHW, -4, -1).astype(dtype)


def tolerance(recording: Recording, key: str, dtype) -> float | None:
    """The largest absolute error allowed for a key; None = the recording says to skip it."""
    facts = recording.about["precision"]
    largest, strayed = facts["per_key_[max_abs_value, fp32_max_abs_err]"][key]
    single = np.dtype(dtype) == np.float32
    if key in facts["mathematically_zero_keys"]:
        return 10 * strayed if single else 1e-9
    if single:
        skipped = key in facts["ill_conditioned_keys_skip_in_float32"]
        return None if skipped else max(10 * strayed, 2e-6 * largest)
    if recording.timed:
        return TIMED_REL * largest
    stored = recording.array[key].dtype
    return (EXACT_REL if stored == np.float64 else UNTIMED_REL) * largest


def assert_meets(recording: Recording, key: str, value, dtype) -> None:
    """Raises AssertionError unless `value` is what was recorded under `key`, within tolerance."""
    expected, value = recording.array[key], np.asarray(value)
    assert value.shape == expected.shape, f"{key}: {value.shape}, recorded {expected.shape}"
    allowed = tolerance(recording, key, dtype)
    if allowed is None:
        return
    error = np.max(np.abs(value.astype(np.float64) - expected), initial=0.0)
    where = f"{recording.name} {key} in {np.dtype(dtype)}"
    assert error <= allowed, f"{where}: error {error:.3g}, allowed {allowed:.3g}"


def assert_group_meets(recording: Recording, prefix: str, values: Mapping, dtype) -> None:
    """`values`, by torch name, hold exactly the keys recorded under `prefix/` and meet them all.

    The reference counts BatchNorm's steps; nothing of ours does, so those keys are left out.
    """
    recorded = {k for k in recording.group(prefix) if not k.endswith("num_batches_tracked")}
    assert set(values) == recorded, f"{prefix}: names differ: {set(values) ^ recorded}"
    for name, value in values.items():
        assert_meets(recording, f"{prefix}/{name}", value, dtype)
