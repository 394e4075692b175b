"""Checks of a probe's configuration and cohort before anything is computed."""

import os

from tvrl_jax.data.clips import SAMPLINGS
from tvrl_jax.errors import UserError, nearest
from tvrl_jax.files import whole_file
from tvrl_jax.probing.survival import stored
from tvrl_jax.results import BASELINES, CONSTANT, EXPORT, TEMPORAL
from tvrl_jax.scalars import is_number

SURVIVAL = ("cox", "hazard")  # answer time to an event; the other kinds data.targets
KINDS = (
    "linear",
    "ridge",
    "attentive",
    "cls",
    "knn",
    *SURVIVAL,
    TEMPORAL,
    EXPORT,
    "finetune",
    "supervised",
)
FEATURES = ("cls", "token")
SAME = ("time_unit", "channels", "image_size")
# far beyond what anybody needs, and short of what fills a machine before a word is said
LARGEST = {
    "seeds": 10_000,
    "restarts": 10_000,
    "bootstrap.samples": 1_000_000,
    "survival.grid": 100_000,
    "hazard.bins": 10_000,
    "attentive.evaluations": 10_000,
    "cls.evaluations": 10_000,
}
# Kinds that take few baselines; a supervised one is an untrained encoder itself.
COMPARABLE_WITH = {TEMPORAL: ("untrained",), EXPORT: (), "supervised": (CONSTANT,)}
ALONE = (TEMPORAL, EXPORT)  # kinds that are compared with no other probe
UNCACHED = ("finetune", "supervised")  # kinds that keep no features


def sections(kind: str) -> tuple[str, ...]:
    """The sections of a probe's configuration that are read for this kind and not for all."""
    if kind in UNCACHED:
        return ("finetune", "augment")
    return (kind, "survival") if kind in SURVIVAL else (kind,)


def foreign(kind: str) -> tuple[str, ...]:
    """How the keys begin that are of other kinds of probe alone."""
    every = dict.fromkeys(name for other in KINDS for name in sections(other))
    return tuple(f"{name}." for name in every if name not in sections(kind))


def config(c) -> None:
    """Raises UserError for a value of a probe's configuration that makes no sense."""
    _one_of("kind", c.kind, KINDS)
    _one_of("features.sampling", c.features.sampling, ("", *SAMPLINGS))
    for name in c.baselines:
        _one_of("baselines", name, BASELINES)
    for section in ("linear", "ridge", "knn", EXPORT, *SURVIVAL):
        _one_of(f"{section}.feature", c[section].feature, FEATURES)
    _fractions(c.fractions)
    for key in ("fractions", "baselines", "against"):
        _once(f"config.{key}", c[key])
    for key, value in _whole(c):
        if value < 1:
            raise UserError(f"config.{key} = {value} must be at least 1.")
        if value > LARGEST.get(key, value):
            raise UserError(
                f"config.{key} = {value} is more than {LARGEST[key]}; it would not end."
            )
    for key, value in _not_negative(c):
        if value < 0:
            raise UserError(f"config.{key} = {value} must be 0 or more.")
    for key, value in _seeds(c):
        if not 0 <= value < 2**32:
            raise UserError(f"config.{key} = {value} must be 0 or more, and below 2^32.")
    for section in ("linear", "attentive", "cls", "finetune"):
        _grid(f"{section}.learning_rates", c[section].learning_rates, above=True)
        _grid(f"{section}.weight_decays", c[section].weight_decays, above=False)
    for section in ("ridge", *SURVIVAL):
        _grid(f"{section}.strengths", c[section].strengths, above=True)
    _grid("survival.horizons", c.survival.horizons, above=True)
    _once("config.survival.horizons", c.survival.horizons)
    _named_apart(c.survival.horizons)
    _grid("survival.tau", (c.survival.tau,), above=False)
    _grid("knn.ks", c.knn.ks, above=True, whole=True)
    if not c.knn.temperature >= 1e-6:  # below, the weights of float32 cosines are no numbers
        raise UserError(f"config.knn.temperature = {c.knn.temperature} must be at least 1e-6.")
    if not 0 <= c.finetune.warmup_fraction <= 1:
        raise UserError(
            f"config.finetune.warmup_fraction = {c.finetune.warmup_fraction} must be "
            "between 0 and 1."
        )
    _comparable(c)
    if c.kind == TEMPORAL:
        _temporal(c)


def _fractions(values) -> None:
    if not values:
        raise UserError("config.fractions is empty; give label fractions such as (0.1, 1.0).")
    if not all(is_number(v) and 0 < v <= 1 for v in values):
        raise UserError(
            f"config.fractions = {values} must be label fractions, each greater than 0 and at "
            "most 1."
        )


def _once(key: str, names) -> None:
    """Raises UserError for what is named twice: it would count as two seeds of one method."""
    for name in names:
        if list(names).count(name) > 1:
            raise UserError(f"{key} names {name!r} twice; name it once.")


def _named_apart(horizons) -> None:
    """Raises UserError for two horizons whose metrics would have one name: one would be lost."""
    found: dict[str, float] = {}
    for horizon in horizons:
        other = found.setdefault(f"{stored(horizon):g}", horizon)
        if other != horizon:
            raise UserError(
                f"config.survival.horizons holds {other} and {horizon}, whose metrics would both "
                f"be called auc_{stored(horizon):g}; they must differ in their first six digits."
            )


def cache(c) -> None:
    """Makes the folder of the features, where they are kept, so that none are computed in vain."""
    if c.kind in UNCACHED:
        return
    folder = c.features.cache
    remedy = "name a folder that can be written."
    if not folder:
        raise UserError(f"config.features.cache is empty; {remedy}")
    path = os.path.expanduser(folder)
    try:
        os.makedirs(path, exist_ok=True)
        whole_file.sweep(path)
    except OSError as error:
        raise UserError(f"config.features.cache = {folder}: {error.strerror}; {remedy}") from error
    if not os.access(path, os.W_OK):
        raise UserError(f"config.features.cache = {folder} cannot be written; {remedy}")


def _comparable(c) -> None:
    limits = {"baselines": COMPARABLE_WITH.get(c.kind, BASELINES)}
    limits |= {"against": ()} if c.kind in ALONE else {}
    for key, allowed in limits.items():
        other = [name for name in c[key] if name not in allowed]
        if other:
            raise UserError(
                f'config.{key} has "{other[0]}"; kind "{c.kind}" takes '
                f"{' or '.join(['()', *(f'({name!r},)' for name in allowed)])}."
            )


def _temporal(c) -> None:
    for name in ("windows", "pairs", "bins", "subjects", "classes"):
        if c.temporal[name] < 1:
            raise UserError(f"config.temporal.{name} = {c.temporal[name]} must be at least 1.")
    if c.temporal.retrieval < 3:  # of two, an odd number of series leaves one alone in its batch
        raise UserError(f"config.temporal.retrieval = {c.temporal.retrieval} must be at least 3.")
    if c.temporal.scale in (0, 1):
        raise UserError(f"config.temporal.scale = {c.temporal.scale} must be neither 0 nor 1.")
    _grid("temporal.strengths", c.temporal.strengths, above=True)


def _whole(c):
    """Key and value of every count."""
    yield "seeds", c.seeds
    yield "restarts", c.restarts
    yield "bootstrap.samples", c.bootstrap.samples
    for name in ("batch_size", "every", "settle_batches", "settle_size"):
        yield f"features.{name}", c.features[name]
    yield "linear.epochs", c.linear.epochs
    for name in ("frames", "epochs", "batch_size", "min_steps", "evaluations"):
        yield f"attentive.{name}", c.attentive[name]
    yield "hazard.bins", c.hazard.bins
    yield "survival.grid", c.survival.grid
    for section in ("cls", "finetune"):
        for name in ("epochs", "batch_size", "min_steps", "evaluations", "val_windows"):
            yield f"{section}.{name}", c[section][name]


def _seeds(c):
    """Key and value of every seed of a random number generator."""
    yield "untrained_seed", c.untrained_seed
    yield "bootstrap.seed", c.bootstrap.seed
    yield "temporal.seed", c.temporal.seed


def _not_negative(c):
    """Key and value of what may be 0, for all or for as in pretraining."""
    yield "features.stride", c.features.stride
    yield "linear.chunk", c.linear.chunk
    yield "attentive.chunk", c.attentive.chunk
    yield "cls.chunk", c.cls.chunk
    yield "finetune.clip_norm", c.finetune.clip_norm


def _one_of(key: str, value: str, known) -> None:
    if value not in known:
        raise UserError(f'config.{key} has "{value}".{nearest(str(value), known)}')


def _grid(key: str, values, *, above: bool, whole: bool = False) -> None:
    good = all(is_number(v) and (v > 0 or (v == 0 and not above)) for v in values)
    if not values or not good or (whole and any(not isinstance(v, int) for v in values)):
        what = "greater than 0" if above else "0 or more"
        numbers = "whole numbers" if whole else "numbers"
        raise UserError(f"config.{key} = {values} must be one or more {numbers}, each {what}.")


def cohort(store, pretraining) -> None:
    """Raises UserError where the cohort's unit, channels or frame size are not the encoder's."""
    for key in SAME:
        is_now, was = getattr(store, key), pretraining.data[key]
        if is_now != was:
            raise UserError(
                f"data.{key} of the probe's cohort is {is_now}, but the checkpoint was trained "
                f"with {was}; the two must agree."
            )
