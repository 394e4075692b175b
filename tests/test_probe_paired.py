"""Two encoders on the same test patients, from their files alone."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn import metrics as sk

from tvrl_jax.errors import UserError
from tvrl_jax.probing import cache, intervals, paired, predictions, rows, stats, tasks
from tvrl_jax.probing.problem import Prediction
from tvrl_jax.probing.sampling import Draw
from tvrl_jax.probing.tasks import Task

N, BOOTSTRAP = 48, dict(samples=200, seed=0)
PATIENT_N = np.array([f"p{i // 2:02d}" for i in range(N)])  # two series each
RNG = np.random.default_rng(0)
LVEF = Task("LVEF", "regression", (), RNG.normal(60, 10, N).astype(np.float32))
AF = Task("AF", "classification", ("no", "yes"), (np.arange(N) // 2 % 2 == 0).astype(np.float32))


def _predict(task: Task, fraction: float, seed: int, noise: float, offset: int) -> Prediction:
    rng = np.random.default_rng((offset, seed, int(100 * fraction)))
    guess_N = np.nan_to_num(task.value_N) + noise * np.nanstd(task.value_N) * rng.normal(size=N)
    output_NK = np.stack([1 - guess_N, guess_N], 1) if task.classes else guess_N[:, None]
    return Prediction(Draw(task, fraction, seed, np.ones(3, bool)), output_NK, {})


def _write(folder, *, tasks=(LVEF, AF), fractions=(0.1, 1.0), noise=0.5, order=None, **changes):
    """A probe folder: tvrl and its baseline, two fractions, two seeds; series in `order`."""
    order_N = np.arange(N) if order is None else order
    arrays = {"method": "tvrl", "cohort": "phantom", "probe": "linear"}
    arrays = {name: np.array(text) for name, text in arrays.items()}
    arrays |= {"series": np.array([f"s{i:02d}" for i in range(N)]), "patient": PATIENT_N}
    arrays |= predictions.of_tasks(tasks, np.arange(N))
    for offset, name in enumerate(("tvrl", "untrained")):
        fits = [(t, f, s) for t in tasks for f in fractions for s in (0, 1)]
        made = [_predict(*fit, noise * (1 + 2 * offset), offset) for fit in fits]
        arrays |= predictions.of_method(name, made)
    arrays |= changes
    moved = {
        name: a[:, order_N] if name.startswith("output/") else a[order_N]
        for name, a in arrays.items()
        if name.split("/")[0] in ("series", "patient", "label", "output")
    }
    cache.write(predictions.place(folder, "linear"), arrays | moved)
    return paired.load(folder, "linear")


def _by_key(made):
    return {(row["task"], row["fraction"], row["metric"]): row for row in made}


def _naive(a, b, task: Task, metric, column: int):
    """One patient drawn after another, one seed after another, the metric by scikit-learn."""
    draws = np.random.default_rng(BOOTSTRAP["seed"])
    names = sorted(set(PATIENT_N))
    picked = draws.integers(len(names), size=(BOOTSTRAP["samples"], len(names)))
    gap_R, drawn_S = [], None
    for drawn in [None, *picked]:
        drawn = range(len(names)) if drawn is None else drawn
        rows_D = [i for k in drawn for i in np.flatnonzero(names[k] == PATIENT_N)]
        rows_D = [i for i in rows_D if np.isfinite(task.value_N[i])]
        of_side = []
        for side in (a, b):
            own = [p for p in side.predictions if p.draw.task.column == task.column]
            own = [p for p in own if p.draw.fraction == 1]
            score = [metric(task.value_N[rows_D], p.test_NK[rows_D, column]) for p in own]
            of_side.append(score)
        gap_R.append(np.mean(of_side[0]) - np.mean(of_side[1]))
        drawn_S = (
            drawn_S if len(gap_R) > 1 else np.subtract(*of_side)
        )  # of the patients as they are
    return drawn_S, np.array(gap_R[1:])


@pytest.mark.parametrize(
    ("task", "name", "metric", "column"),
    [(LVEF, "mae", sk.mean_absolute_error, 0), (AF, "auroc", sk.roc_auc_score, 1)],
)
def test_a_difference_is_that_of_a_naive_loop(tmp_path, task, name, metric, column):
    if task is LVEF:  # some labels are missing
        task = LVEF._replace(value_N=np.where(np.arange(N) % 5 == 0, np.nan, LVEF.value_N))
    a = _write(tmp_path / "a", tasks=(task,), noise=0.5)
    b = _write(tmp_path / "b", tasks=(task,), noise=1.5)
    made = _by_key(paired.differences(a, b, **BOOTSTRAP))
    drawn_S, gap_R = _naive(a, b, task, metric, column)
    row, value = made[task.column, 1.0, name], np.mean(drawn_S)
    known_N = np.isfinite(task.value_N)
    groups = [known_N] if task is not AF else [known_N & (task.value_N == k) for k in (0, 1)]
    low, high = np.percentile(gap_R, intervals.MIDDLE)
    held = [Counter(PATIENT_N[own_N]).values() for own_N in groups]  # series of each patient
    effective = min(sum(counts) ** 2 / sum(n**2 for n in counts) for counts in held)
    patients = (high - low) ** 2 / 4, effective - 1
    draws = np.var(drawn_S, ddof=1) / len(drawn_S), len(drawn_S) - 1
    square = patients[0] + draws[0]
    freedom = square**2 / (patients[0] ** 2 / patients[1] + draws[0] ** 2 / draws[1])
    half = student.ppf(0.975, freedom) * square**0.5
    assert row["value"] == pytest.approx(value)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((value - half, value + half))
    p = made[task.column, 1.0, f"{name}_p"]["value"]
    assert p == pytest.approx(2 * student.sf(abs(value) / square**0.5, freedom))
    assert row["method"] == "tvrl - tvrl" and row["probe"] == "linear"
    assert row["n"] == len(set(PATIENT_N[np.isfinite(task.value_N)]))


@pytest.mark.parametrize("metric", [False, True])
def test_nothing_is_concluded_from_few_patients_whatever_the_task(tmp_path, metric):
    """Of so few, every resample may lie on one side of 0 although neither side knows anything."""
    for patients, told in ((1, False), (3, False), (9, False), (10, not metric), (20, True)):
        few = 2 * patients
        labels = np.where(np.arange(N) < few, LVEF.value_N, np.nan).astype(np.float32)
        task = LVEF._replace(value_N=labels)
        if metric:  # half of them are of each class
            task = AF._replace(value_N=np.where(np.isnan(labels), np.nan, AF.value_N))
        a = _write(tmp_path / "a", tasks=(task,))
        b = _write(tmp_path / "b", tasks=(task,), noise=5.0)
        made = paired.differences(a, b, **BOOTSTRAP)
        assert any(row["metric"].endswith("_p") for row in made) == told, patients
        assert np.isfinite([r["value"] for r in made if r["metric"] == "mae"]).all()
        single = rows.rows(paired.scores(a, **BOOTSTRAP), method="a", cohort="", probe="")
        for row in [*made, *single]:  # one patient is no interval
            assert patients > 1 or np.isnan(row["ci_low"]), row
        warned = rows.warnings(paired.scores(a, **BOOTSTRAP), np.arange(N), PATIENT_N)
        assert any("no difference has a p" in line for line in warned) == (not told)


def test_an_encoder_does_not_differ_from_itself_and_turns_its_sign(tmp_path):
    a, b = _write(tmp_path / "a"), _write(tmp_path / "b", noise=2.0)
    for row in paired.differences(a, a, **BOOTSTRAP):
        assert row["value"] == (1 if row["metric"].endswith("_p") else 0)
    there, back = (_by_key(paired.differences(*pair, **BOOTSTRAP)) for pair in ((a, b), (b, a)))
    assert any(row["value"] for row in there.values())
    for key, row in there.items():
        sign = 1 if key[2].endswith("_p") else -1
        assert back[key]["value"] == pytest.approx(sign * row["value"])
        if sign < 0:
            assert back[key]["ci_low"] == pytest.approx(-row["ci_high"])


def test_draws_that_only_one_side_has_count_for_each_side_alone(tmp_path):
    """Draws that are not the same are no pairs: what they share is not known to cancel."""
    a, b = _write(tmp_path / "a"), _write(tmp_path / "b", noise=2.0)
    moved = [p._replace(draw=p.draw._replace(seed=p.draw.seed + 7)) for p in b.predictions]
    of_a, of_b = (paired.scores(side, **BOOTSTRAP) for side in (a, b))
    row = _by_key(paired.differences(a, b._replace(predictions=moved), **BOOTSTRAP))[
        "AF", 1, "auroc"
    ]
    one, other = (
        next(s for s in side if (s.task.column, *s[1:4]) == ("AF", 1, "all", "auroc"))
        for side in (of_a, of_b)
    )
    drawn = [np.array(list(s.draws.values())) for s in (one, other)]
    about = dict(smallest=rows.smallest(one, other), draws=drawn, limits=(-1, 1))
    gap = intervals.difference(row["value"], one.sample_R, other.sample_R, **about)
    assert (row["ci_low"], row["ci_high"]) == (gap.low, gap.high)


def test_a_file_whose_ranks_were_rounded_is_told(tmp_path, caplog):
    _write(tmp_path / "new")
    assert not caplog.records
    arrays = dict(predictions.read(tmp_path / "new", "linear"))
    name = "output/tvrl/AF"
    _write(tmp_path / "old", **{name: arrays[name].astype(np.float32)})
    assert "run that probe again" in caplog.text and len(caplog.records) == 1


def test_the_order_of_the_series_does_not_matter(tmp_path):
    a, b = _write(tmp_path / "a"), _write(tmp_path / "b", noise=2.0)
    moved = _write(tmp_path / "c", noise=2.0, order=np.random.default_rng(1).permutation(N))
    assert not (moved.series_N == b.series_N).all()
    one, other = (paired.differences(a, x, **BOOTSTRAP) for x in (b, moved))
    for row, same in zip(one, other, strict=True):
        assert row["value"] == pytest.approx(same["value"])
        assert row["ci_low"] == pytest.approx(same["ci_low"], nan_ok=True)


def test_any_method_of_a_folder_can_be_named(tmp_path):
    a = _write(tmp_path)
    untrained = paired.load(tmp_path, "linear", method="untrained")
    gap = _by_key(paired.differences(a, untrained, **BOOTSTRAP))["LVEF", 1.0, "mae"]
    assert gap["method"] == "tvrl - untrained" and gap["value"] < 0
    other = paired.differences(a._replace(name="ours"), untrained, **BOOTSTRAP)
    assert {row["method"] for row in other} == {"ours - untrained"}


def _renamed(names: np.ndarray, old: str, new: str) -> np.ndarray:
    return np.where(names == old, new, names)


CHANGED = LVEF._replace(value_N=LVEF.value_N + (np.arange(N) == 6))
LACKING = LVEF._replace(value_N=np.where(np.arange(N) == 5, np.nan, LVEF.value_N))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patient": _renamed(PATIENT_N, "p04", "p99")}, ['Test patient "p', "/a (tvrl)"]),
        ({"tasks": (LVEF,)}, ['Task "AF"']),
        ({"tasks": (CHANGED, AF)}, ['"LVEF"', 'test series "s06" (patient "p03")']),
        ({"tasks": (LACKING, AF)}, ['"s05" (patient "p02")', "nan in"]),
        ({"tasks": (LVEF, AF._replace(classes=("yes", "no")))}, ['Task "AF": classes', "'yes'"]),
        ({"fractions": (1.0,)}, ['Label fraction "0.1 of LVEF"']),
        ({"fractions": (0.10000001, 1.0)}, ['Label fraction "0.1', " of LVEF"]),
    ],
)
def test_what_was_measured_on_other_things_is_not_compared(tmp_path, changes, words):
    a, b = _write(tmp_path / "a"), _write(tmp_path / "b", **changes)
    for pair in ((a, b), (b, a)):
        with pytest.raises(UserError) as error:
            paired.differences(*pair, **BOOTSTRAP)
        assert all(word in str(error.value) for word in words), error.value
        assert "\n" not in str(error.value)


def test_the_first_patient_that_is_missing_is_named(tmp_path):
    a = _write(tmp_path / "a")
    b = _write(tmp_path / "b", patient=_renamed(PATIENT_N, "p04", "p99"))
    with pytest.raises(UserError, match='^Test patient "p04" of .*/a .tvrl. is not in .*/b'):
        paired.aligned(a, b)


@pytest.mark.parametrize(
    "changes",
    [
        {"series": _renamed(np.array([f"s{i:02d}" for i in range(N)]), "s03", "s3b")},
        {"patient": np.roll(PATIENT_N, 1)},  # the same patients, but another one's series
    ],
)
def test_other_series_of_the_same_patients_are_not_compared(tmp_path, changes):
    a, b = _write(tmp_path / "a"), _write(tmp_path / "b", **changes)
    with pytest.raises(UserError, match='^Test series "s0. of patient p0.".*is not in'):
        paired.aligned(a, b)


def test_a_missing_file_or_method_is_named(tmp_path):
    _write(tmp_path)
    with pytest.raises(UserError, match='no "knn" probe.*there: linear'):
        paired.load(tmp_path, "knn")
    with pytest.raises(UserError, match='"untrianed".*Did you mean "untrained"'):
        paired.load(tmp_path, "linear", method="untrianed")


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("method", lambda a: None, "KeyError"),
        ("label/AF", lambda a: None, "label/AF"),
        ("label/AF", lambda a: a[:5], "5 labels of AF"),
        ("output/tvrl/AF", lambda a: a[:, :5], "predictions of AF are"),
        ("output/tvrl/AF", lambda a: np.concatenate([a, a], axis=2), "predictions of AF are"),
        ("output/tvrl/LVEF", lambda a: a * np.nan, "not finite"),
        ("fraction/tvrl/AF", lambda a: np.array(["some"] * len(a)), "ValueError"),
        ("seed/tvrl/AF", lambda a: a[:1], "ValueError"),
    ],
)
def test_a_file_that_no_probe_wrote_is_one_sentence(tmp_path, name, change, words):
    _write(tmp_path)
    place = predictions.place(tmp_path, "linear")
    arrays = dict(np.load(place))
    changed = change(arrays.pop(name))
    cache.write(place, arrays if changed is None else arrays | {name: changed})
    with pytest.raises(UserError, match=f"predictions_linear.npz does not hold.*{words}"):
        paired.load(tmp_path, "linear")


def test_labels_of_several_numbers_need_no_other_code(tmp_path, monkeypatch):
    """A kind of task with a label of two numbers, one of which may be missing."""

    def gap(label_N2, output_NK, weight_RN):
        return weight_RN @ (output_NK[:, 0] - label_N2.sum(1)) / weight_RN.sum(1)

    known = stats.metrics
    monkeypatch.setattr(
        stats, "metrics", lambda k, *more: {"gap": gap} if k == "pair" else known(k, *more)
    )
    value_N2 = np.random.default_rng(2).random((N, 2)).astype(np.float32)
    value_N2[3, 1] = np.nan
    task = Task("death", "pair", (), value_N2)
    sides = []
    for folder, shift in (("a", 1.0), ("b", 0.25)):
        output_NK = np.nan_to_num(value_N2.sum(1, keepdims=True), nan=1e9) + shift
        fit = Prediction(Draw(task, 1.0, 0, np.ones(3, bool)), output_NK, {})
        arrays = predictions.of_tasks((task,), np.arange(N)) | predictions.of_method("tvrl", [fit])
        arrays |= {"method": np.array("tvrl"), "cohort": np.array("x"), "probe": np.array("cox")}
        arrays |= {"series": np.arange(N).astype(str), "patient": PATIENT_N}
        cache.write(predictions.place(tmp_path / folder, "cox"), arrays)
        sides.append(paired.load(tmp_path / folder, "cox"))
    row = paired.differences(*sides, **BOOTSTRAP)[0]
    assert row["value"] == pytest.approx(0.75, abs=1e-5) and row["metric"] == "gap"
    assert (tasks.labelled(value_N2) == (np.arange(N) != 3)).all()
