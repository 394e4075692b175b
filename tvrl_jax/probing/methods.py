"""How the predictions of each method come about, for every kind of probe."""

import functools

import jax
import numpy as np

from tvrl_jax.probing import (
    attentive,
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

FIT = {  # of one feature matrix, or of what READ gives
    "linear": linear.fit,
    "ridge": ridge.fit,
    "attentive": attentive.fit,
    "knn": knn.fit,
    "cox": cox.fit,
    "hazard": hazard.fit,
}
MATRIX = {"cls": "cls_ND", "token": "token_ND"}


def predict(name: str, study: Study):
    """Predictions of a method, and its features where it is frozen (else None)."""
    encoder, kind, seed = study.encoder, study.config.kind, study.config.untrained_seed
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
    features = features_of(name, encoder, study)
    return _probe(encoder, features, study), features


def features_of(name: str, encoder: Encoder, study: Study) -> dict[str, Features]:
    """split -> features, from the cache where it has them; `name` is for the terminal."""
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


@jax.default_matmul_precision("float32")
def _probe(encoder: Encoder, features: dict[str, Features], study: Study) -> list[Prediction]:
    """One of the probes of frozen features.

    Accelerators multiply float32 matrices at 8 to 11 bits unless told otherwise: too few for
    moments and for second-order fits, and what is saved is nothing beside the features.
    """
    kind = study.config.kind
    settings = study.config[kind].to_dict()
    given = READ.get(kind, _matrix)(features, study, settings)
    fit = functools.partial(cls.fit, encoder) if kind == "cls" else FIT[kind]
    return [p for part in study.problems for p in fit(given, part, **settings)]


def _matrix(features: dict[str, Features], study: Study, settings: dict) -> dict:
    """split -> [N, D]; takes the key out of the settings that says which."""
    field = MATRIX[settings.pop("feature")]
    return {split: getattr(f, field) for split, f in features.items()}


def _tokens(features: dict[str, Features], study: Study, settings: dict) -> dict:
    """split -> tokens of the frames; takes the key out that says how many."""
    limit, made = settings.pop("frames"), {}
    for split, f in features.items():
        frames_N = np.array([study.store.series[i].frames for i in study.series[split]])
        made[split] = attentive.tokens(f.token_FD, f.held_F, frames_N, limit)
    return made


def _clips(features: dict[str, Features], study: Study, settings: dict) -> dict:
    return {s: cls.Clips(f.frame_FD, _windows(study, s)) for s, f in features.items()}


READ = {"attentive": _tokens, "cls": _clips}  # what a kind reads of the features, if no matrix


def _windows(study: Study, split: str) -> windows.Windows:
    return windows.cut(study.store, study.series[split], **study.settings)


def _train(encoder: Encoder, study: Study) -> list[Prediction]:
    """Fine-tuning, or supervised learning when the encoder is fresh."""
    tables = {split: _windows(study, split) for split in tasks.SPLITS}
    source = finetune.Source(study.store, study.series, tables, study.settings)
    # What times count from is no noise: an encoder knows them as they were when it learned.
    origin = {"time_origin": encoder.config.augment.time_origin}
    settings = dict(**study.config.finetune, augment=study.config.augment.to_dict() | origin)
    return [p for part in study.problems for p in finetune.fit(encoder, source, part, **settings)]
