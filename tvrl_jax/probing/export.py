"""Features of every series of a cohort, for one's own analyses: no label is read, nothing fitted.

features.csv   a row per series, in the order of the table: the row of the table that names its
               first file, series, patient, split, frames, then the D numbers of the feature
features.npz   the same as arrays, and both features; N series, F frames:
               row [N], series [N], patient [N], split [N], frames [N]; cls [N, D], token [N, D];
               with export.frames also frame/series [F] (position among the N), frame/time [F]
               (data.time_unit, as the table and the files have it), frame/feature [F, D] (of a
               frame seen alone; a joint encoder has none), frame/token [F, D] (what the temporal
               encoder makes of it, mean over windows) and frame/held [F] (False: no window holds
               the frame, and its token is 0)
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from tvrl_jax.data.split import SPLITS
from tvrl_jax.errors import UserError
from tvrl_jax.files import whole_file
from tvrl_jax.probing import cache, check
from tvrl_jax.probing.features import Encoder, Features, compute, is_joint, window_settings

TABLE, ARRAYS = "features.csv", "features.npz"
ABOUT = ("row", "series", "patient", "split", "frames")  # columns before the feature
DIGITS = "%.9g"  # a float32 is read back to the last bit


def plan(encoder: Encoder, store, config, say) -> None:
    """Raises UserError where the cohort cannot be used; it is found here, in seconds."""
    check.cohort(store, encoder.config)


def run(
    encoder: Encoder, store, config, folder: Path, say: Callable[[str], None] = print
) -> list[Path]:
    """Writes features.csv and features.npz into `folder`, of what `plan` has found to be right;
    returns where they are."""
    for name in (TABLE, ARRAYS):
        if (folder / name).is_dir():
            raise UserError(f"{folder / name} is a folder; remove it, or name another --workdir.")
    arrays = _arrays(encoder, store, config, say)
    table = _table(arrays, arrays[config.export.feature])
    with whole_file.writing(folder / TABLE) as file:
        table.to_csv(file, index=False, float_format=DIGITS, lineterminator="\n")
    cache.write(folder / ARRAYS, arrays)
    return [folder / TABLE, folder / ARRAYS]


def _arrays(encoder: Encoder, store, config, say) -> dict[str, np.ndarray]:
    """What features.npz holds."""
    parts = {split: np.asarray(store.split(split), int) for split in SPLITS}
    # Split by split, as other probes compute and keep them; then in the order of the table.
    found = {
        split: compute(
            encoder,
            store,
            series,
            settings=window_settings(encoder.config, config.features),
            batch_size=config.features.batch_size,
            folder=config.features.cache,
            name=split,
            say=say,
        )
        for split, series in parts.items()
        if len(series)
    }
    order_N = np.argsort(np.concatenate([parts[split] for split in found]))
    made = _about(store)
    for name in ("cls", "token"):
        value_ND = np.concatenate([getattr(f, f"{name}_ND") for f in found.values()])
        made[name] = value_ND[order_N]
    if config.export.frames:
        made |= _frames(store, parts, found, joint=is_joint(encoder))
    return made


def _about(store) -> dict[str, np.ndarray]:
    info = store.series
    return {
        "row": np.array([one.row for one in info]),
        "series": np.array([one.id for one in info]),
        "patient": np.array([one.subject for one in info]),
        "split": np.array([one.split for one in info]),
        "frames": np.array([one.frames for one in info]),
    }


def _frames(store, parts, found: dict[str, Features], *, joint: bool) -> dict[str, np.ndarray]:
    """Of every frame, series after series in the order of the table."""
    series_F = np.concatenate(
        [np.repeat(parts[split], [store.series[i].frames for i in parts[split]]) for split in found]
    )
    order_F = np.argsort(series_F, kind="stable")
    fields = {"token": "token_FD", "held": "held_F"} | ({} if joint else {"feature": "frame_FD"})
    made = {
        f"frame/{name}": np.concatenate([getattr(f, field) for f in found.values()])[order_F]
        for name, field in fields.items()
    }
    time_F = np.concatenate([one.time_T for one in store.series])
    return made | {"frame/series": series_F[order_F], "frame/time": time_F}


def _table(arrays: dict[str, np.ndarray], feature_ND: np.ndarray) -> pd.DataFrame:
    width = len(str(feature_ND.shape[1] - 1))
    names = [f"f{d:0{width}}" for d in range(feature_ND.shape[1])]
    about = pd.DataFrame({name: arrays[name] for name in ABOUT})
    return pd.concat([about, pd.DataFrame(feature_ND, columns=names)], axis=1)
