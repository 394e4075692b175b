"""Packing lists each real frame once, in lengths that processes agree on, and changes no run."""

import json

import jax
import numpy as np
import pandas as pd
import pytest
import tiny
from fake_store import make_store

from configs import csimclr_te, ltn
from tvrl_jax import trainer
from tvrl_jax.data.packing import FILLER, Packing, capacity, places
from tvrl_jax.data.pipeline import train_batches
from tvrl_jax.errors import UserError
from tvrl_jax.models import packing

CLIPS = dict(
    frames=4, stride=1, sampling="newest", windows=1, interval="constant", relative_time=True,
    drop=0.0,
    drop_spread=0.0,
)  # fmt: skip


def short_clips(rng, rows=8, views=2, frames=6):
    return np.arange(frames) < rng.integers(1, frames + 1, (rows, views, 1))


def test_every_real_frame_is_listed_once():
    valid = short_clips(np.random.default_rng(0))
    packed = places(valid, 4, capacity(valid, Packing(4, 3)))
    for g, view in np.ndindex(4, 2):
        listed = [place for place in packed[g, view] if place != FILLER]
        wanted = [row * 6 + t for row in range(2) for t in range(6) if valid[2 * g + row, view, t]]
        assert listed == wanted


@pytest.mark.parametrize(("visits", "expected"), [(1, 2), (2, 4), (3, 6), (6, 12)])
def test_the_smallest_length_that_holds_the_fullest_group(visits, expected):
    valid = np.zeros((8, 1, 6), bool)
    valid[:, :, :1] = True
    valid[2:4, :, :visits] = True
    assert capacity(valid, Packing(groups=4, capacities=6)) == expected


def test_features_return_to_their_frames():
    valid = short_clips(np.random.default_rng(1), views=1)
    packed = places(valid, 2, capacity(valid, Packing(2, 4)))[:, 0]
    feature = np.random.default_rng(2).normal(size=(48, 3)).astype(np.float32)
    found = packing.scatter(packing.gather(feature, packed), packed, 48)
    np.testing.assert_array_equal(found, np.where(valid.reshape(-1, 1), feature, 0))


def batches(count=3, **changes):
    settings = dict(
        split="train", clips=CLIPS, views=2, batch_size=8, seed=0, start_step=0, process_index=0,
        process_count=1, threads=1, workers=0, packing=Packing(4, 4),
    )  # fmt: skip
    made = train_batches(make_store([1, 2, 9, 5, 3, 1, 1, 4, 2]), **settings | changes)
    taken = [next(made) for _ in range(count)]
    made.close()
    return taken


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_two_processes_hold_the_halves_of_one(drop):
    clips = CLIPS | dict(drop=drop)
    halves = [batches(clips=clips, process_index=i, process_count=2) for i in (0, 1)]
    for whole, first, second in zip(batches(clips=clips), *halves, strict=True):
        for name, value in whole.items():
            np.testing.assert_array_equal(value, np.concatenate([first[name], second[name]]))


def test_frames_that_no_view_sees_are_not_listed():
    whole, some = (batches(clips=CLIPS | dict(drop=drop)) for drop in (0.0, 0.5))
    for all_of_it, batch in zip(whole, some, strict=True):
        listed = (batch["packed_GVC"] != FILLER).sum(axis=(0, 2))
        np.testing.assert_array_equal(listed, batch["valid_BVT"].sum(axis=(0, 2)))
        assert (listed <= all_of_it["valid_BVT"].sum()).all()
    assert sum(b["packed_GVC"].shape[2] for b in some) < sum(
        b["packed_GVC"].shape[2] for b in whole
    )


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_packing_draws_the_same_clips_and_resumes(drop):
    clips = CLIPS | dict(drop=drop)
    plain, packed = batches(clips=clips, packing=None), batches(clips=clips)
    later = batches(1, clips=clips, start_step=2)
    for name in plain[0]:
        np.testing.assert_array_equal(plain[2][name], packed[2][name])
        np.testing.assert_array_equal(plain[2][name], later[0][name])


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """A cohort of one to four dated images a patient."""
    root = tmp_path_factory.mktemp("visits")
    tiny.write_cohort(root)
    rows, rng = [], np.random.default_rng(0)
    table = pd.read_csv(root / "cohort.csv")
    for i, row in enumerate(table.to_dict("records")):
        frames = np.load(root / row["path"])
        for k in range(1 + i % 4):
            path = f"{row['subject']}_{k}.npy"
            np.save(root / path, frames[k : k + 1])
            rows.append({**row, "path": path, "years": k + rng.random()})
    pd.DataFrame(rows).to_csv(root / "visits.csv", index=False)
    return root


def losses(root, folder, method, drop, capacities, pieces=1, rows=8):
    config = tiny.shrink(method.get_config(), root)
    config.update_from_flattened_dict(
        {
            "data.csv": "visits.csv",
            "data.columns.time": "years",
            "data.time_unit": "years",
            "data.frame_interval": 0.0,
            "clips.sampling": "newest",
            "clips.drop": drop,
            "train.capacities": capacities,
            "train.micro_batches": pieces,
            "train.batch_size": rows,
            "train.steps": 2,
            "log.every": 1,
        }
    )
    trainer.train(config, folder)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [[row[key] for key in ("loss", "gradient_norm", "mean_rank")] for row in rows]


@pytest.mark.parametrize(("method", "drop"), [(csimclr_te, 0.5), (ltn, 0.0)])
def test_a_packed_run_is_the_padded_run_on_all_devices(visits, tmp_path, method, drop):
    assert jax.device_count() == 8
    padded = losses(visits, tmp_path / "padded", method, drop, 0)
    packed = losses(visits, tmp_path / "packed", method, drop, 2)
    np.testing.assert_allclose(padded[0], packed[0], rtol=1e-4)
    np.testing.assert_allclose(padded[1], packed[1], rtol=2e-3)  # Adam enlarges rounding


def test_a_packed_run_in_pieces_is_the_padded_run(visits, tmp_path):
    padded = losses(visits, tmp_path / "padded", csimclr_te, 0.0, 0, rows=16)
    packed = losses(visits, tmp_path / "packed", csimclr_te, 0.0, 2, pieces=2, rows=16)
    np.testing.assert_allclose(padded[0], packed[0], rtol=1e-4)
    np.testing.assert_allclose(padded[1], packed[1], rtol=2e-3)  # Adam enlarges rounding


def test_counted_padding_cannot_be_packed_away(visits, tmp_path):
    config = tiny.shrink(csimclr_te.get_config(), visits)
    config.train.capacities, config.model.batchnorm_padding = 4, True
    with pytest.raises(UserError, match="choose one of the two"):
        trainer.train(config, tmp_path / "run")
