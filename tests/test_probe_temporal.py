"""The whole probe of time: its rows, pictures, alarms and what it refuses."""

import numpy as np
import pandas as pd
import pytest

from configs import probe_temporal
from tests import probe_network, probed, tiny
from tvrl_jax import metrics
from tvrl_jax.errors import UserError
from tvrl_jax.probing import check, features, intervals, windows
from tvrl_jax.probing.features import Encoder
from tvrl_jax.probing.temporal import (
    changes,
    cosine,
    elapsed,
    measured,
    sensitivity,
    shortcuts,
    suite,
)
from tvrl_jax.probing.temporal.measured import Measured
from tvrl_jax.probing.temporal.sight import look, over_time
from tvrl_jax.probing.windows import Windows
from tvrl_jax.report import html, tables
from tvrl_jax.report import temporal as report
from tvrl_jax.results import COLUMNS, KEY


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two series to a patient, at two sites."""
    root = tmp_path_factory.mktemp("cohort")
    tiny.write_cohort(root, subjects=32)
    table = pd.read_csv(root / "cohort.csv")
    table["subject"] = [f"p{i // 8 * 4 + i % 4}" for i in range(32)]
    table["site"] = np.where(np.arange(32) % 8 < 4, "north", "south")
    table.to_csv(root / "cohort.csv", index=False)
    return root


@pytest.fixture
def config(tmp_path):
    c = probe_temporal.get_config()
    changed = {"features.cache": str(tmp_path / "cache"), "features.settle_batches": 2}
    changed |= {"features.batch_size": 32, "bootstrap.samples": 50, "temporal.windows": 3}
    c.update_from_flattened_dict(changed)
    return c


def quiet(line):
    pass


def test_rows_arrays_and_pictures_of_the_whole_probe(encoder, store, config, tmp_path):
    said = []
    results = probed.run_temporal(encoder, store, config, tmp_path, said.append)
    table = pd.DataFrame(results.rows)
    assert tuple(table.columns) == COLUMNS and set(table.probe) == {"temporal"}
    assert set(table.method) == {"tvrl", "untrained"} and set(table.seed) == {"all"}
    assert {*changes.CHANGES, "radius", "large", "cosine", "features", "site"} <= set(table.task)
    assert not table.duplicated(list(KEY)).any()
    assert (table.n[table.metric == "cls_change"] == 4).all()  # patients, not series
    assert any("sex" in line for line in results.notes) and set(results.notes) <= set(said)
    assert results.findings.retrieval is None and results.findings.blank > 0
    tables.update(tmp_path / "results.csv", results.rows)
    page = html.write(html.gather(tmp_path, tmp_path)).read_text()
    assert report.TITLE in page and "Trajectories, TVRL" in page
    shown = {row["task"] for row in report.besides(results.rows)}
    assert shown >= {"cosine", "features", "site"} and not shown & {"radius", "large", "shuffled"}
    assert "Results on the test patients" not in page  # which would mark the largest as the best
    printed = report.printed(report.rows_of(tables.read_results(tmp_path / "results.csv")))
    assert "R2, drop when times blank" in printed and "untrained encoder" in printed


def test_a_target_is_no_shortcut_besides(encoder, store, config):
    """Two AUROCs of one name would be one row, and the drops those of the other."""
    config.temporal.columns = ("site", "large")
    study = suite.plan(encoder, store, config, quiet)
    assert [task.column for task in study.columns] == ["site"]
    assert [note for note in study.notes if "large" in note] == [
        "Shortcut probe of large: it is a target, and read among those."
    ]


@pytest.mark.parametrize(
    ("patients", "smallest", "marked"), [(30, 10, False), (30, 9, True), (9, 10, True)]
)
def test_a_shortcut_of_few_patients_in_all_or_of_a_class_is_marked(patients, smallest, marked):
    interval = intervals.Interval(0.7, 0.5, 0.9, 0)
    found = [
        Measured("site", "auroc", interval, patients, smallest),
        Measured("age", "r2", interval, 30),
    ]
    rows = measured.table(found, method="tvrl", cohort="c")
    printed = report.printed(rows)
    assert ("AUROC !" in printed) == (report.SMALL_NOTE in printed) == marked
    assert "R2 !" not in printed and "patients_per_class" not in printed
    assert (report.SMALL_NOTE in report.table(rows).note) == marked


def test_a_column_called_elapsed_is_a_shortcut_and_no_time_between_frames(monkeypatch):
    def row(task, metric):
        interval = intervals.Interval(0.7, 0.5, 0.9, 0)
        return Measured(task, metric, interval, 30)

    found = [row(elapsed.FRAMES, "r2"), row("elapsed_since_surgery", "r2")]
    rows = measured.table(found, method="tvrl", cohort="c")
    assert [row["task"] for row in report.besides(rows)] == ["elapsed_since_surgery"]
    drawn, bars = [], report.bars
    monkeypatch.setattr(report, "bars", lambda own, title: drawn.append(own) or bars(own, title))
    report.sections(rows, {})
    assert [[row["task"] for row in own] for own in drawn] == [[elapsed.FRAMES]]


def test_rows_are_measured_on_the_features_and_patients_of_the_test(
    encoder, store, config, tmp_path
):
    """Each measure is held to a loop elsewhere; here, that it is given what it should be."""
    config.baselines, config.temporal.windows = (), 99
    results = probed.run_temporal(encoder, store, config, tmp_path, quiet)
    value = {(row["task"], row["metric"]): row["value"] for row in results.rows}
    series = store.split("test")
    settings = features.window_settings(encoder.config, config.features)
    sight = look(
        encoder, store, series, settings=settings, batch_size=32, folder=str(tmp_path), name="",
        say=quiet,
    )  # fmt: skip
    table = windows.cut(store, series, **settings)
    cls_WD, _ = over_time(sight, table)
    rank = metrics.effective_rank(windows.mean(table, cls_WD, len(series)))
    assert value["features", "effective_rank"] == pytest.approx(float(rank), rel=1e-4)
    patient_N = np.array([store.series[i].subject for i in series])
    found = cosine.cosines(cls_WD, table.series_W, patient_N)
    for name, expected_N in found._asdict().items():
        assert value["cosine", name] == pytest.approx(expected_N.mean(), abs=1e-5), name
    reversed_WD, _ = over_time(sight, changes.change(table, "reversed", scale=1.0, seed=0))
    moved_W = 1 - (cosine.unit(cls_WD) * cosine.unit(reversed_WD)).sum(1)
    share = moved_W.mean() / (1 - found.other_patients.mean())
    assert value["reversed", "cls_change"] == pytest.approx(share, rel=0.02)
    others = ~np.eye(len(series), dtype=bool)
    hit_N, _ = shortcuts.retrieve(sight.cls_ND, sight.cls_ND, patient_N, patient_N, others)
    assert value["patient identity, another series", "top1"] == pytest.approx(hit_N.mean())


def test_no_window_is_encoded_twice(encoder, store, config, tmp_path, monkeypatch):
    config.baselines, seen = (), []

    def noted(sight, table):
        seen.append((sight.series.tobytes(), *(array.tobytes() for array in table)))
        return over_time(sight, table)

    for module in (elapsed, sensitivity, suite):
        monkeypatch.setattr(module, "over_time", noted, raising=False)
    probed.run_temporal(encoder, store, config, tmp_path, quiet)
    # intact, and with times blank, of each split; of the test series the other changes, too
    assert len(seen) == len(set(seen)) == 2 * 3 + 3


def test_the_same_probe_again_gives_the_same_numbers(encoder, store, config, tmp_path):
    config.baselines = ()
    first, again = (probed.run_temporal(encoder, store, config, tmp_path, quiet) for _ in range(2))
    assert pd.DataFrame(first.rows).equals(pd.DataFrame(again.rows))


def test_without_targets_time_is_measured_all_the_same(encoder, store, config, tmp_path):
    pretraining = encoder.config.copy_and_resolve_references()
    pretraining.data.targets, config.baselines = (), ()
    bare = encoder._replace(config=pretraining)
    results = probed.run_temporal(bare, store, config, tmp_path, quiet)
    assert any("No data.targets" in note for note in results.notes)
    assert "radius" not in {row["task"] for row in results.rows}


def test_settings_that_make_no_sense_are_named(config):
    for key, value in (
        ("baselines", ("constant",)),
        ("against", ("x",)),
        ("temporal.scale", 1.0),
        ("temporal.windows", 0),
        ("temporal.retrieval", 2),
        ("temporal.seed", -1),
        ("temporal.strengths", ()),
    ):
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({key: value})
        with pytest.raises(UserError, match=key):
            check.config(changed)


def test_a_joint_encoder_has_still_clips_and_tokens_of_tubelets(encoder, store, tmp_path):
    """Tokens: two tubelets of two frames, each with two patches; CLS: their mean."""

    def halves(params, extra, clip_BTHWC, valid_BT, *, train, key):
        tubelet_Bt2tN = clip_BTHWC.reshape(len(clip_BTHWC), 2, 2, 2, -1)
        return tubelet_Bt2tN[..., :3].mean(2).reshape(len(clip_BTHWC), 4, 3), extra

    network = probe_network.make(4, tiny.SIZE)._replace(
        spatial=halves,
        embed_time=None,
        temporal=lambda p, x, valid, *, train, key: (x.mean(1), x),
        grid=(2, 1, 2),
        width=3,
    )
    joint = Encoder(network, {"encoder": {"vit": {}}}, {}, encoder.config)
    settings = dict(
        frames=4, stride=1, sampling="random", relative_time=True, time_origin="window", every=1
    )
    series = store.split("test")[:2]
    kept = dict(batch_size=8, folder=str(tmp_path), name="", say=quiet)
    joint = joint._replace(network=network._replace(embed_time=lambda p, x, time: x))
    sight = look(joint, store, series, settings=settings, **kept)
    frames = sum(store.series[i].frames for i in series)
    assert sight.frame_FD.shape == (frames, 3)
    table = Windows(
        np.array([0, 1], np.int32),
        np.array([[3, 3, 3, 3], [12, 14, 13, 15]], np.int32),
        np.zeros((2, 4), np.float32),
        np.ones((2, 4), bool),
    )
    cls_WD, token_WTD = over_time(sight, table)
    np.testing.assert_allclose(cls_WD[0], sight.frame_FD[3], atol=1e-6)
    assert token_WTD.shape == (2, 4, 3)
    assert (token_WTD[1, 0] == token_WTD[1, 1]).all() and (token_WTD[1, 1] != token_WTD[1, 2]).any()
    shown = np.stack([store.frames(series[1], [k]) for k in (0, 2)]) / 255.0
    patches = shown.reshape(2, 1, 2, -1)[..., :3]
    np.testing.assert_allclose(token_WTD[1, 0], patches.mean((0, 1, 2)), atol=1e-5)
