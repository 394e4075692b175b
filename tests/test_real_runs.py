"""The presets of real files pretrain with nothing but configuration."""

import json
import shutil

import jax
import numpy as np
import pydicom.examples
import pytest

from configs import cohorts, probe_base, probe_linear, tvrl
from tvrl_jax import prober, trainer
from tvrl_jax.checkpoint import restore_for_reading
from tvrl_jax.data import opening
from tvrl_jax.report import tables

FOLDERS = {
    "sunnybrook": "sunnybrook",
    "sunnybrook_dicom": "sunnybrook",
    "sunnybrook_npz": "sunnybrook",
    "lung_ultrasound": "lung_ultrasound",
    "hannover_cxr": "hannover_cxr",
    "ms_brain": "ms_brain",
}


def _nano(preset: str, root, store):
    """The preset's data and clips, the smallest model: every preset compiles one program."""
    config = tvrl.get_config(preset)
    config.update_from_flattened_dict(
        {
            "data.root": str(root),
            "data.store": str(store),
            "data.image_size": 48,
            "data.pixel_mm": 0.0,
            "model.arch": "nano",
            "model.image_size": 32,
            "model.dropout": 0.0,
            "model.temporal_depth": 1,
            "model.head_hidden": 32,
            "model.input_mean": 0.2,
            "model.input_std": 0.2,
            "augment.vflip": 0.0,
            "train.steps": 3,
            "train.batch_size": 8,
            "log.every": 1,
            "log.tensorboard": False,
        }
    )
    return config


def _pretrain(preset: str, root, folder):
    trainer.train(_nano(preset, root, folder / "store"), folder / "run")
    rows = [json.loads(r) for r in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and all(np.isfinite(row["loss"]) for row in rows)
    params = restore_for_reading(folder / "run", ("params",), "newest").tree
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("preset", FOLDERS)
def test_real_cohort_pretrains(preset, real_data_dir, tmp_path):
    _pretrain(preset, real_data_dir / FOLDERS[preset], tmp_path)


def test_dated_radiographs_are_probed(real_data_dir, tmp_path):
    """Gaps of 0 to 10 days, several images of one day, up to 22 visits."""
    folder = tmp_path / "run"
    trainer.train(_nano("hannover_cxr", real_data_dir / "hannover_cxr", tmp_path / "s"), folder)
    config = probe_linear.get_config()
    config.update_from_flattened_dict(
        {
            "fractions": (1.0,),
            "seeds": 1,
            "baselines": ("constant",),
            "linear.epochs": 5,
            "bootstrap.samples": 20,
            "features.cache": str(tmp_path / "features"),
        }
    )
    base = probe_base.get_config()
    out = tmp_path / "probe"
    prober.probe(config, str(folder), str(out), step="newest", resume=False, base=base)
    rows = tables.read_results(out / "results.csv")
    (auroc,) = [r for r in rows if (r["method"], r["metric"], r["seed"]) == ("tvrl", "auroc", 0)]
    assert auroc["task"] == "sex" and auroc["n"] == 4 and 0 <= auroc["value"] <= 1


def test_a_pair_of_volumes_is_a_series_of_two_visits(real_data_dir, tmp_path):
    root = real_data_dir / "ms_brain"
    store = opening.open_cohort(_nano("ms_brain", root, tmp_path).data)
    table = (root / "manifest.csv").read_text().splitlines()
    days = dict(zip(table[0].split(","), table[1].split(","), strict=True))
    wanted = [float(days["day_0"]), float(days["day_1"])]
    assert all(info.time_T.tolist() == wanted for info in store.series) and len(store.series) > 1


def test_echo_of_pydicom_pretrains(tmp_path):
    (tmp_path / "echo").mkdir()
    shutil.copy(pydicom.examples.get_path("ybr_color"), tmp_path / "echo" / "one.dcm")
    _pretrain("echo", tmp_path / "echo", tmp_path)


def test_trigger_times_arrive_as_they_are(real_data_dir, tmp_path):
    """Every slice of the short axis has its own times; a run sees them in seconds."""
    config = _nano("sunnybrook", real_data_dir / "sunnybrook", tmp_path)
    store = opening.open_cohort(config.data)
    table = (real_data_dir / "sunnybrook" / "slice_timing.csv").read_text().splitlines()[1:]
    assert len(store.series) == len(table) == 22
    for info in store.series:
        row = table[info.row - 2].split(",")
        assert (info.subject, str(info.slice)) == (row[0], row[1])
        np.testing.assert_allclose(info.time_T * 1000, np.array(row[-1].split(), float), rtol=1e-9)


def test_every_preset_is_tried_here():
    synthetic = {name for name in cohorts.PRESETS if name.startswith("phantom")}
    assert set(FOLDERS) | {"echo", "own"} | synthetic == set(cohorts.PRESETS)
