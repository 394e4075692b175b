"""How the predictions of each method come about, for every kind of probe."""

from tvrl_jax.probing import (
    cls,
    constant,
    cox,
    finetune,
    hazard,
    knn,
    linear,
    ridge,
    tasks,
    untrained,
    windows,
)
from tvrl_jax.probing.features import Encoder, Features, compute
from tvrl_jax.probing.problem import Prediction
from tvrl_jax.probing.study import Study

FIT = {  # of one feature matrix
    "linear": linear.fit,
    "ridge": ridge.fit,
    "knn": knn.fit,
    "cox": cox.fit,
    "hazard": hazard.fit,
}
MATRIX = {"cls": "cls_ND", "token": "token_ND"}


def predict(name: str, encoder: Encoder, study: Study):
    """Predictions of a method, and its features where it is frozen (else None)."""
    kind, seed = study.config.kind, study.config.untrained_seed
    if name == "constant":
        count = len(study.series["test"])
        return [p for part in study.problems for p in constant.fit(part, count)], None
    if kind in ("finetune", "supervised"):
        fresh = kind == "supervised" or name == "untrained"
        return _train(untrained.fresh(encoder, seed=seed) if fresh else encoder, study), None
    if name == "untrained":
        section = study.config.features
        encoder = untrained.settled(
            encoder,
            study.store,
            seed=seed,
            batches=section.settle_batches,
            batch_size=section.settle_size,
        )
    features = _features(name, encoder, study)
    return _probe(encoder, features, study), features


def _features(name: str, encoder: Encoder, study: Study) -> dict[str, Features]:
    return {
        split: compute(
            encoder,
            study.store,
            series,
            settings=study.settings,
            batch_size=study.config.features.batch_size,
            folder=study.config.features.cache,
            name=f"{name} {split}",
            say=study.say,
        )
        for split, series in study.series.items()
    }


def _probe(encoder: Encoder, features: dict[str, Features], study: Study) -> list[Prediction]:
    """One of the probes of frozen features."""
    kind = study.config.kind
    settings = study.config[kind].to_dict()
    if kind == "cls":
        clips = {s: cls.Clips(f.frame_FD, _windows(study, s)) for s, f in features.items()}
        return [p for part in study.problems for p in cls.fit(encoder, clips, part, **settings)]
    field = MATRIX[settings.pop("feature")]
    matrix = {split: getattr(f, field) for split, f in features.items()}
    return [p for part in study.problems for p in FIT[kind](matrix, part, **settings)]


def _windows(study: Study, split: str) -> windows.Windows:
    return windows.cut(study.store, study.series[split], **study.settings)


def _train(encoder: Encoder, study: Study) -> list[Prediction]:
    """Fine-tuning, or supervised learning when the encoder is fresh."""
    tables = {split: _windows(study, split) for split in tasks.SPLITS}
    source = finetune.Source(study.store, study.series, tables, study.settings)
    settings = dict(**study.config.finetune, augment=study.config.augment.to_dict())
    return [p for part in study.problems for p in finetune.fit(encoder, source, part, **settings)]
