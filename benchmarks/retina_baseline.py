"""What the synthetic retinal cohort lets one know: from its truth, and from its pictures.

    python -m benchmarks.retina_baseline --subjects=3000 --pictures=800

AUROC of conversion within 3 years, by logistic regression on squares and products, cross-validated
over patients. First from the truth, also for each kind of conversion. Then from the true heights of
the drusen: of the last visit, of all visits with their times, and of all visits in order without
times. Then the same from heights that a ridge
regression reads off a few statistics of each picture, at its own size and at half of it.
"""

import argparse
from typing import NamedTuple

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from tvrl_jax.data.phantom.retina.disease import (
    Disease,
    cumulative_hazard,
    height_at,
    neovascular_share,
)
from tvrl_jax.data.phantom.retina.subject import HORIZON, draw, pictures, prognosis

FOLDS = GroupKFold(5)
LEAST = 400  # patients


class One(NamedTuple):
    """A series: one eye."""

    patient: int
    year_V: np.ndarray
    disease: Disease
    labels: dict
    image_VHW: np.ndarray | None

    @property
    def height_V(self) -> np.ndarray:
        return height_at(self.disease, self.year_V - self.year_V[-1])


def cohort(patients: int, *, seed: int, nuisance: str, size: int = 0) -> list[One]:
    """Every series of the first patients; with pictures when a `size` is given."""
    found = []
    for index in range(patients):
        patient = draw(seed, index, nuisance=nuisance)
        for series in patient.series:
            labels = prognosis(series.disease, patient.visits.follow_up)
            image = pictures(patient, series, size, seed) if size else None
            found.append(One(index, patient.visits.years, series.disease, labels, image))
    return found


def column(series: list[One], name: str) -> np.ndarray:
    """A label of each series, NaN where it is not known."""
    return np.array([np.nan if s.labels[name] is None else s.labels[name] for s in series])


def risk(disease: Disease) -> float:
    """Probability of conversion within 3 years of a last visit without late disease."""
    age = disease.height / disease.rate
    more = cumulative_hazard(disease.rate, age + HORIZON) - cumulative_hazard(disease.rate, age)
    return float(1 - np.exp(-more))


def pace(height_V: np.ndarray, time_V: np.ndarray) -> np.ndarray:
    """Logarithms of the last height and of two slopes (all visits, the last two), and whether
    there is but one visit."""
    if len(time_V) == 1:
        return np.array([np.log(max(height_V[-1], 1.0)), 0.0, 0.0, 1.0])
    off_V = time_V - time_V.mean()
    slopes = (
        (off_V * height_V).sum() / (off_V**2).sum(),
        np.diff(height_V)[-1] / np.diff(time_V)[-1],
    )
    return np.append(np.log(np.maximum([height_V[-1], *slopes], [1.0, 0.5, 0.5])), 0.0)


def logistic():
    regression = LogisticRegression(C=1.0, max_iter=3000)
    return make_pipeline(PolynomialFeatures(2), StandardScaler(), regression)


def auroc(feature_NF: np.ndarray, label_N: np.ndarray, patient_N: np.ndarray, model=None) -> float:
    """Cross-validated over patients, of the series whose label is known."""
    known = ~np.isnan(label_N)
    probability = cross_val_predict(
        model or logistic(), feature_NF[known], label_N[known], groups=patient_N[known],
        cv=FOLDS, method="predict_proba",
    )  # fmt: skip
    return float(roc_auc_score(label_N[known], probability[:, 1]))


def prognoses(series: list[One], heights: list[np.ndarray]) -> dict[str, float]:
    """AUROC of conversion within 3 years from the heights of each series' visits."""
    label_N = column(series, "convert_3y")
    patient_N = np.array([s.patient for s in series])
    timed = np.array([pace(h, s.year_V) for h, s in zip(heights, series, strict=True)])
    ordered = np.array([pace(h, np.arange(len(h))) for h in heights])
    return {
        "last visit": auroc(timed[:, :1], label_N, patient_N),
        "all visits, with times": auroc(timed, label_N, patient_N),
        "all visits, in order": auroc(ordered, label_N, patient_N),
    }


def truths(series: list[One]) -> dict[str, float]:
    """AUROC of conversion within 3 years from what the simulator knows."""
    last = (
        ("height", [s.disease.height for s in series]),
        ("rate", [s.disease.rate for s in series]),
    )
    best = ("rate and height", [risk(s.disease) for s in series])
    return {name: auroc_of(series, "convert_3y", value) for name, value in (best, *last)}


def truths_of_kinds(series: list[One]) -> dict[str, float]:
    """The same of conversion to each kind: from rate and height, with the trait that decides
    between the kinds and without it."""
    risk_N = np.array([risk(s.disease) for s in series])
    share_N = neovascular_share(np.array([s.disease.trait for s in series]))
    shares = {"atrophy": 1 - share_N, "neovascular": share_N}
    known = [
        (kind, name, value)
        for kind, own_N in shares.items()
        for name, value in ((kind, risk_N * own_N), (f"{kind} without the trait", risk_N))
    ]
    return {name: auroc_of(series, f"convert_3y_{kind}", value) for kind, name, value in known}


def auroc_of(series: list[One], label: str, value) -> float:
    """Of a number that needs no learning, among the series whose label is known."""
    label_N = column(series, label)
    known = ~np.isnan(label_N)
    return float(roc_auc_score(label_N[known], np.asarray(value)[known]))


def clock(series: list[One]) -> np.ndarray:
    """What the dates alone say: number of visits, span, mean and last interval."""
    gaps = [np.diff(s.year_V) if len(s.year_V) > 1 else np.zeros(1) for s in series]
    return np.array([(len(g), g.sum(), g.mean(), g[-1]) for g in gaps])


def statistics(image_VHW: np.ndarray) -> np.ndarray:
    """A few numbers of each picture [V, F]: how rough three lines are that follow the retina, how
    far they are apart, and how even the light is below."""
    image = image_VHW.astype(float)
    image -= image.mean((1, 2), keepdims=True)
    image /= image.std((1, 2), keepdims=True)
    row_H = np.arange(image.shape[1])[None, :, None]
    weight = np.maximum(image - 1.5, 0) ** 2 + 1e-6
    lines = (weight * row_H).sum(1) / weight.sum(1), (image > 0.3).argmax(1), image.argmax(1)
    base, _ = np.linalg.qr(np.vander(np.linspace(-1, 1, image.shape[2]), 4))
    found = []
    for line_VW in lines:
        rough = line_VW - line_VW @ base @ base.T
        found += [rough.std(1), np.abs(np.diff(rough)).mean(1), np.abs(rough).max(1)]
    thick, below = lines[0] - lines[1], image[:, 3 * image.shape[1] // 4 :].mean(1)
    found += [thick.mean(1), thick.std(1), thick.max(1), thick.min(1)]
    found += [below.std(1), below.max(1) - np.median(below, 1), below.min(1) - np.median(below, 1)]
    found += [(image > 2).mean((1, 2)), image.max(1).std(1), image.min(1).std(1)]
    found += [np.abs(np.diff(image, axis=axis)).mean((1, 2)) for axis in (1, 2)]
    return np.stack(found, axis=1)


def halved(image_VHW: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels."""
    side = image_VHW.shape[1] // 2
    small = [Image.fromarray(i).resize((side, side), Image.Resampling.BOX) for i in image_VHW]
    return np.stack([np.asarray(i) for i in small])


def read_off(series: list[One], feature_MF: np.ndarray) -> np.ndarray:
    """Heights of the drusen at every visit [M] as a ridge regression sees them, cross-validated
    over patients. `feature_MF` has a row per visit."""
    height_M = np.concatenate([s.height_V for s in series])
    patient_M = np.repeat([s.patient for s in series], [len(s.year_V) for s in series])
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
    return cross_val_predict(ridge, feature_MF, height_M, groups=patient_M, cv=FOLDS)


def seen(series: list[One]) -> dict[str, float]:
    """What statistics of the pictures give: AUROC of late disease, R2 of the last height, and the
    prognoses."""
    ends = np.cumsum([len(s.year_V) for s in series])
    feature_MF = np.concatenate([statistics(s.image_VHW) for s in series])
    height_M = read_off(series, feature_MF)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000))
    patient_N = np.array([s.patient for s in series])
    late = auroc(feature_MF[ends - 1], column(series, "late"), patient_N, plain)
    true_N = np.array([s.disease.height for s in series])
    score = {"late": late, "height (R2)": float(r2_score(true_N, height_M[ends - 1]))}
    return score | prognoses(series, np.split(height_M, ends[:-1]))


def show(title: str, scores: dict[str, float]) -> None:
    print(f"{title}: " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--subjects", type=int, default=3000, help="patients without pictures")
    parser.add_argument("--pictures", type=int, default=800, help="patients with pictures")
    parser.add_argument("--size", type=int, default=64, help="pixels")
    parser.add_argument("--nuisance", default="mild")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    if min(a.subjects, a.pictures) < LEAST:
        parser.error(f"at least {LEAST} patients each, or a fold may hold no conversion of a kind")
    series = cohort(a.subjects, seed=a.seed, nuisance=a.nuisance)
    show("truth", truths(series))
    show("truth, by kind", truths_of_kinds(series))
    show("true heights", prognoses(series, [s.height_V for s in series]))
    dates = auroc(
        clock(series), column(series, "convert_3y"), np.array([s.patient for s in series])
    )
    show("dates alone", {"convert_3y": dates})
    series = cohort(a.pictures, seed=a.seed, nuisance=a.nuisance, size=a.size)
    show(f"pictures of {a.size} pixels", seen(series))
    small = [s._replace(image_VHW=halved(s.image_VHW)) for s in series]
    show(f"pictures of {a.size // 2} pixels", seen(small))


if __name__ == "__main__":
    main()
