"""Each alarm is raised by what it is for, and by nothing less."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from configs import base, probe_knn, probe_temporal, tvrl
from tests import tiny
from tvrl_jax import learner, prober, roster, settings
from tvrl_jax.checkpoint import Checkpoints
from tvrl_jax.data import external, opening
from tvrl_jax.models import sizes
from tvrl_jax.probing import frozen, leak
from tvrl_jax.probing.temporal import findings
from tvrl_jax.report import alarms, html


def _found(**changed):
    good = dict(rank=9.0, spread=0.2, retrieval=_retrieval(), target=_target(), dtype="float32")
    good |= dict(embeds_time=True, blank=0.3, scaled=0.2, gain=0.4)
    return SimpleNamespace(**good | changed)


def _retrieval(**changed):
    good = dict(top1=0.9, blank_top1=0.02, chance=1 / 127, series=128, rank=20.0, inter_cosine=0.1)
    return SimpleNamespace(**good | changed)


def _target(moved: float = 0.9, cosine: float = 0.4):
    return SimpleNamespace(moved=moved, cosine=cosine)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"rank": 1.2}, "collapsed"),
        ({"spread": 1e-5}, "collapsed"),
        ({"spread": 8e-3, "dtype": "bfloat16"}, "collapsed"),
        ({"retrieval": _retrieval(rank=1.1)}, "collapsed"),
        ({"retrieval": _retrieval(inter_cosine=0.99)}, "collapsed"),
        ({"retrieval": _retrieval(blank_top1=0.2)}, "timestamps alone"),
        ({"retrieval": _retrieval(blank_top1=0.2), "embeds_time": False}, "places of the frames"),
        ({"retrieval": _retrieval(blank_top1=float("nan"))}, "not finite"),
        ({"target": _target(moved=0.0)}, "does not depend on the image"),
        ({"target": _target(cosine=0.9999)}, "does not depend on the image"),
        ({"blank": 0.001, "scaled": 0.002, "gain": 0.0}, "time embedding is ignored"),
        ({"blank": 0.001, "scaled": 0.002, "gain": None}, "time embedding is ignored"),
    ],
)
def test_what_is_wrong_with_an_encoder_raises_its_own_alarm(changed, word):
    raised = [check.alarm for check in alarms.encoder_checks(_found(**changed)) if check.alarm]
    assert len(raised) == 1 and word in raised[0]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"spread": 8e-3},
        {"spread": 0.05, "dtype": "bfloat16"},
        {"retrieval": None, "target": None},  # a method that has neither
        {"retrieval": _retrieval(blank_top1=0.5, series=4, chance=1 / 7)},  # too few to be sure
        {"retrieval": _retrieval(blank_top1=1.0, series=6, chance=1 / 11)},
        {"blank": 0.001, "scaled": 0.02},  # one of the two is noticed
        {"blank": 0.001, "scaled": 0.001, "gain": 0.5},  # it is in the tokens
        {"blank": 0.0, "scaled": 0.0, "gain": 0.0, "embeds_time": False},  # there is none
        {"blank": None, "scaled": None, "gain": None},  # one frame a series
    ],
)
def test_an_encoder_in_order_raises_none(changed):
    checks = alarms.encoder_checks(_found(**changed))
    assert len(checks) == 5 and not any(check.alarm for check in checks)


def test_features_of_few_series_have_not_collapsed_for_being_few():
    rng = np.random.default_rng(0)
    for series in (1, 2, 3, 9):
        check = alarms.spread(*findings.spread(rng.normal(size=(series, 8))))
        assert not check.alarm and bool(check.finding) == (series > 1)
    assert "collapsed" in alarms.spread(*findings.spread(np.ones((3, 8)))).alarm
    assert "collapsed" in alarms.spread(*findings.spread(np.outer(range(10), np.ones(8)))).alarm


@pytest.mark.parametrize("dtype", sizes.DTYPES)
def test_features_that_differ_by_rounding_alone_have_collapsed(dtype):
    """Clips whose frames are one feature, but for a 10,000th; and others that are not."""
    config = tiny.shrink(base.get_config(), Path("/nowhere"))
    config.method, config.model.dtype = "tvrl", dtype
    network = learner.make_network(config, learner.find_objective(config), outputs=1)
    params, _ = network.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    one, own = rng.normal(size=(1, 4, network.width)), rng.normal(size=(32, 1, network.width))
    times = np.tile(np.arange(4, dtype=np.float32), (32, 1))
    for by, collapsed in ((1e-4, True), (1e-5, True), (0.1, False)):
        feature = (one + by * own).astype(np.float32)
        cls_ND, *_ = frozen.temporal_step(network)(params, feature, times, np.ones((32, 4), bool))
        check = alarms.spread(*findings.spread(np.asarray(cls_ND)), dtype)
        assert bool(check.alarm) == collapsed, (by, check.finding)


def test_embeddings_of_few_series_have_not_collapsed_for_being_few():
    """The rank of two rows is below 2 always; their cosine tells all the same."""
    log = [{"step": s, "effective_rank": 1.97, "inter_cosine": 0.1} for s in (1, 2, 3)]
    for batch_size, raised in ((2, False), (9, False), (10, True), (None, True)):
        check = alarms.collapse(log, batch_size)
        assert bool(check.alarm) == raised and ("rank" in check.finding) == raised
        assert check in alarms.check_run(log, batch_size)
    alike = [row | {"inter_cosine": 0.99} for row in log]
    assert "collapsed" in alarms.collapse(alike, 2).alarm
    unknown = _retrieval(rank=float("nan"))
    assert alarms.embedding(unknown).finding == "cosine between subjects 0.10"
    assert not alarms.embedding(unknown).alarm
    unknown.inter_cosine = 0.99
    assert alarms.embedding(unknown).alarm


def test_the_bound_on_retrieval_is_binomial():
    """With 3 x chance exceeded, what remains is whether so many hits happen by chance."""
    chance, series = 1 / 63, 40
    for hits in range(series + 1):
        found = _retrieval(blank_top1=hits / series, chance=chance, series=series)
        rare = binom.sf(hits - 1, series, chance) < alarms.CERTAIN
        expected = rare and hits / series > alarms.WELL_ABOVE * chance
        assert bool(alarms.blank(found).alarm) == expected, hits


def test_a_leak_names_the_patient():
    check = alarms.leak(("p3", "p7"), 20, "")
    assert 'Patient "p3" and 1 more of the 20' in check.alarm
    assert (
        not alarms.leak((), 20, "").alarm
        and alarms.leak((), 20, "").finding == "0 of 20, by name only"
    )
    copied = alarms.leak((), 20, "", ("b-p3", "b-p7"), True)
    assert 'images of patient "b-p3" and 1 more of the 20 test patients trained' in copied.alarm
    assert copied.finding == "2 of 20, by name and by content"
    assert alarms.leak(("p3",), 20, "", ("q",), True).alarm.count("trained the encoder too") == 2
    unknown = alarms.leak((), 20, "x.csv does not exist.")
    assert not unknown.alarm and not unknown.finding and "x.csv" in unknown.name


def test_checks_of_all_probes_of_a_folder_are_read_once(tmp_path):
    shared, own = alarms.leak((), 3, ""), alarms.spread(1.0, 0.1)
    alarms.save(tmp_path, "knn", [shared])
    alarms.save(tmp_path, "temporal", [shared, own])
    assert alarms.load(tmp_path) == [shared, own]
    assert alarms.summary([shared]) == "no alarms"
    assert alarms.summary([shared, own]).startswith("1 alarm:\n  The features have collapsed")


# from a checkpoint


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    tiny.write_cohort(folder / "cohort")
    config = tiny.shrink(tvrl.get_config("phantom_cardiac"), folder / "cohort")
    network = learner.make_network(config, learner.find_objective(config), outputs=1)
    params, extra = network.init(jax.random.key(0))
    with Checkpoints(folder / "run" / "checkpoints", keep=1, best="loss") as checkpoints:
        tree = {"params": params, "extra": extra, "ema": {}}
        checkpoints.save(1, tree, {"config": settings.to_json(config)}, {"loss": 1.0})
    return folder, config


def _other_cohort(folder, patient: str, split: str):
    """Other patients, and one whom the first cohort has too."""
    tiny.write_cohort(folder, seed=1)
    table = pd.read_csv(folder / "cohort.csv")
    table["subject"] = "new" + table.subject
    table.loc[table.index[table.split == split][0], "subject"] = patient
    table.to_csv(folder / "cohort.csv", index=False)
    return folder


def _probe(pretrained, workdir, config, **changes):
    folder, _ = pretrained
    keys = {"baselines": (), "bootstrap.samples": 20, "features.cache": str(folder / "cache")}
    config.update_from_flattened_dict(keys | changes)
    kinds = dict(step="newest", resume=False, base=base.get_config())
    prober.probe(config, str(folder / "run"), str(workdir), **kinds)


def test_a_patient_of_pretraining_among_the_test_patients_is_named(pretrained, tmp_path, capsys):
    root = _other_cohort(tmp_path / "cohort", "s00", "test")  # s00 is a training patient
    changes = {"data.root": str(root), "fractions": (1.0,), "seeds": 1}
    _probe(pretrained, tmp_path / "probe", probe_knn.get_config(), **changes)
    printed = capsys.readouterr().out
    assert 'Patient "s00" of the 6 test patients trained the encoder too' in printed
    page = (tmp_path / "probe" / "report.html").read_text()
    assert 'class="alarm"' in page and "Patient &quot;s00&quot;" in page
    config = probe_knn.get_config()
    _probe(pretrained, tmp_path / "same", config, fractions=(1.0,), seeds=1)
    printed = capsys.readouterr().out
    assert "patients of pretraining in the test split (0 of 6, by name and by content)" in printed
    assert "trained the encoder" not in printed


def test_a_cohort_that_is_gone_cannot_be_checked_and_that_is_said(pretrained, tmp_path):
    _, config = pretrained
    data = config.data
    store = opening.open_cohort(data)
    assert leak.find(data, data, store) == ((), 6, "", (), True)
    moved = data.copy_and_resolve_references()
    moved.root = str(tmp_path)
    found = leak.find(moved, data, store)
    assert found.shared == () and "cohort.csv does not exist" in found.unknown
    for split, shared in (("train", ()), ("val", ()), ("test", ("s00",))):
        root = _other_cohort(tmp_path / split, "s00", split)
        moved.root = str(root)
        other = opening.open_cohort(moved)
        assert leak.find(data, moved, other).shared == shared


@pytest.fixture
def begun(pretrained, tmp_path):
    """The run as training leaves it, with its list of series."""
    folder, config = pretrained
    shutil.copytree(folder / "run", tmp_path / "run")
    roster.write(tmp_path / "run", opening.open_cohort(config.data))
    return tmp_path / "run"


def _copied_cohort(pretrained, out, patients: int):
    """The home cohort's files copied elsewhere, as another hospital's; the last ones are changed.

    Times are another's, too: what counts are the images.
    """
    home = pretrained[0] / "cohort"
    shutil.copytree(home, out / "abroad", ignore=shutil.ignore_patterns("store"))
    for i in range(patients, 24):
        path = out / "abroad" / f"s{i:02d}.npy"
        np.save(path, np.load(path)[::-1].copy())
    both, _ = external.combine(
        str(home / "cohort.csv"),
        str(out / "abroad" / "cohort.csv"),
        str(out / "both.csv"),
        subject="subject",
        paths=["path"],
        split="split",
        prefix="external-",
        split_seed=None,
        split_fractions=(),
    )
    both.to_csv(out / "both.csv", index=False)
    return {"data.root": str(out), "data.csv": "both.csv", "data.frame_interval": 0.5}


@pytest.mark.parametrize("patients", [24, 2, 0])
def test_the_same_images_under_another_name_are_a_leak(
    pretrained, begun, tmp_path, patients, capsys
):
    changes = _copied_cohort(pretrained, tmp_path, patients) | {"fractions": (1.0,), "seeds": 1}
    _probe((tmp_path, None), tmp_path / "probe", probe_knn.get_config(), **changes)
    printed = capsys.readouterr().out
    copies = sum(i % 4 < 2 for i in range(patients))  # two of four patients trained the encoder
    alarm = 'The images of patient "external-s00" and '
    assert (f"{alarm}{copies - 1} more of the 24 test patients trained" in printed) == (copies > 0)
    finding = f"patients of pretraining in the test split ({copies} of 24, by name and by content)"
    assert finding in printed


def test_blank_series_are_alike_and_no_leak(pretrained, tmp_path):
    root = tmp_path / "cohort"
    shutil.copytree(pretrained[0] / "cohort", root, ignore=shutil.ignore_patterns("store"))
    for name in ("s00", "s03"):  # of the training and of the test split
        np.save(root / f"{name}.npy", np.zeros_like(np.load(root / f"{name}.npy")))
    data = pretrained[1].data.copy_and_resolve_references()
    data.root = str(root)
    assert leak.find(data, data, opening.open_cohort(data)) == ((), 6, "", (), True)


def test_the_list_of_an_older_run_knows_names_alone(pretrained, begun, tmp_path, capsys):
    old = json.loads((begun / roster.FILE).read_text())
    assert len(old.pop("trained_frames")) == 12
    (begun / roster.FILE).write_text(json.dumps(old))
    assert roster.learnt(begun).patients and not roster.learnt(begun).frames
    changes = _copied_cohort(pretrained, tmp_path, 24) | {"fractions": (1.0,), "seeds": 1}
    _probe((tmp_path, None), tmp_path / "probe", probe_knn.get_config(), **changes)
    printed = capsys.readouterr().out
    assert "patients of pretraining in the test split (0 of 24, by name only)" in printed


def test_images_that_were_decoded_otherwise_are_not_compared(pretrained, begun):
    data = pretrained[1].data
    other = data.copy_and_resolve_references()
    other.percentiles = (1.0, 99.0)
    for now, by_content in ((data, True), (other, False)):
        found = leak.find(data, now, opening.open_cohort(now), roster.learnt(begun))
        assert found == ((), 6, "", (), by_content)


def test_a_split_that_was_changed_since_pretraining_hides_no_patient(pretrained, tmp_path, capsys):
    folder, config = pretrained
    shutil.copytree(folder / "run", tmp_path / "run")
    roster.write(tmp_path / "run", opening.open_cohort(config.data))
    table = folder / "cohort" / "cohort.csv"
    before = table.read_text()
    table.write_text(before.replace("s00,s00.npy,train", "s00,s00.npy,test"))
    changes = {"fractions": (1.0,), "seeds": 1}
    try:
        _probe((tmp_path, config), tmp_path / "probe", probe_knn.get_config(), **changes)
    finally:
        table.write_text(before)
    printed = capsys.readouterr().out
    assert 'Patient "s00" of the 7 test patients trained the encoder too' in printed


def test_the_probe_of_time_ends_with_what_was_checked(pretrained, tmp_path, capsys):
    _probe(pretrained, tmp_path, probe_temporal.get_config(), **{"temporal.windows": 2})
    printed = capsys.readouterr().out
    for name in ("blank images, test series", "latent target with exchanged images"):
        assert f"{name} (" in printed
    # six test series: too few for a rank
    assert "collapse of the test embeddings (cosine between subjects" in printed
    checks = html.all_checks(html.gather(tmp_path, tmp_path))
    assert [c.name for c in alarms.load(tmp_path)][1:] == [
        c.name for c in alarms.encoder_checks(_found())
    ]
    assert set(alarms.load(tmp_path)) <= set(checks)
