"""Whether the sections of a configuration agree with each other and with the cohort."""

import inspect
import logging

import numpy as np
from ml_collections import ConfigDict

from tvrl_jax import learner, masking, profiler
from tvrl_jax.data import clips
from tvrl_jax.data.store import Store
from tvrl_jax.errors import UserError, nearest
from tvrl_jax.objectives import Objective, latent, supervised

LOG = logging.getLogger("tvrl_jax")

# Keys of config.objective that name something.
NAMES = {
    "distance": tuple(latent.DISTANCES),
    "target_norm": latent.NORMS,
    "masking": masking.KINDS,
}

MINUTE = 60  # seconds: longer than the frames of a cine
TURNS = 6  # times model.max_period: in 2 pi of it the slowest wave of the time embedding turns once
MANY = 10  # classes that no column of names needs to be asked about


def check(config: ConfigDict, objective: Objective) -> None:
    """Raises UserError for settings that are sound one by one and make no sense together."""
    if not config.data.store:  # it would be the folder that happens to be the current one
        raise UserError("config.data.store is empty; name a folder.")
    _check_rule(config, objective)
    if "head" in objective.parts:
        supervised.check_any(config.data.targets)
    _check_sizes(config, objective)
    _check_averaged(config, objective)
    profiler.window(config.profile.steps, config.train.steps)
    if config.train.capacities and config.model.batchnorm_padding:
        raise UserError(
            "config.train.capacities leaves padding out, which model.batchnorm_padding = True "
            "wants counted: choose one of the two."
        )
    clips.check(**{k: v for k, v in config.clips.items() if k != "relative_time"})


def check_cohort(config: ConfigDict, objective: Objective, store: Store) -> None:
    """Raises UserError for a cohort from which the method cannot learn."""
    if learner.uses_times(config, objective) and config.data.on_equal_times == "stop":
        store.require_times()
    train = store.split("train")
    patients = len({store.series[k].subject for k in train})
    if not patients:
        raise UserError(f"{store.where}: the train split holds no series; there is none to learn.")
    if patients == 1 and objective.views > 1:  # a folder with one examination is a fair first try
        LOG.warning(
            'note: the train split holds one patient: method "%s" compares series with each other '
            "and cannot learn what tells patients apart.", config.method,
        )  # fmt: skip
    if config.train.batch_size > len(train):
        LOG.warning(
            "note: train.batch_size = %d is more than the %d training series: a batch then holds "
            "a series several times.", config.train.batch_size, len(train),
        )  # fmt: skip
    _say_times(config, objective, store)
    _say_classes(store)
    if "head" in objective.parts:
        _check_targets(store)


def _say_times(config: ConfigDict, objective: Objective, store: Store) -> None:
    """Of dated images taken for frames of a cine, and of times that the clock cannot tell."""
    dated, unit = config.data.columns.time, config.data.time_unit
    span = _span(store)
    if dated and unit == "s" and span > MINUTE:
        LOG.warning(
            'note: data.time_unit is "s", and a series of images dated by data.columns.time = "%s" '
            'spans %.4g of them: visits count in "days", "months" or "years".', dated, span,
        )  # fmt: skip
    if dated and config.clips.stride > 1:
        LOG.warning(
            "note: clips.stride = %d takes one visit of %d, and no view shows the others; 1 takes "
            "all.", config.clips.stride, config.clips.stride,
        )  # fmt: skip
    shown = _shown(config, objective, store)
    if shown > TURNS * config.model.max_period:
        LOG.warning(
            "note: the clock may be shown times %.4g %s apart, and those more than %.4g apart look "
            "alike to it: take a larger model.max_period (%g).",
            shown, unit, TURNS * config.model.max_period, config.model.max_period,
        )  # fmt: skip


def _span(store: Store, reach: int | None = None) -> float:
    """The longest time of a series, or between two of its frames that are `reach` apart."""
    spans = [0.0]
    for info in store.series:
        apart = info.frames - 1 if reach is None else min(reach, info.frames - 1)
        spans.append(float((info.time_T[apart:] - info.time_T[: info.frames - apart]).max()))
    return max(spans)


def _shown(config: ConfigDict, objective: Objective, store: Store) -> float:
    """The largest time that the network is told: between the ends of a window, stretched as
    augmentation may; for LTN that between two windows of a series."""
    spans = [0.0]
    if config.model.time_embedding:
        of_window = config.clips.relative_time or config.augment.time_origin == "newest"
        reach = (config.clips.frames - 1) * config.clips.stride if of_window else None
        stretch = (1 + config.augment.time_scale) * (1 + config.augment.interval_scale)
        spans.append(stretch * _span(store, reach))
    if "ltn" in objective.parts:
        spans.append(_span(store))
    return max(spans)


def _say_classes(store: Store) -> None:
    """Of numbers that are taken for names."""
    for target, count in zip(store.known_targets, store.class_counts(), strict=True):
        if count > max(MANY, len(store.series) / 2):
            LOG.warning(
                'note: column "%s" has %d classes in %d series; "%s:regression" learns numbers.',
                target.column, count, len(store.series), target.column,
            )  # fmt: skip


def _check_rule(config: ConfigDict, objective: Objective) -> None:
    """config.objective holds the keyword arguments of the method's loss, no more and no fewer;
    those with a default may be left out."""
    parameters = inspect.signature(objective.loss).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "tile"}
    wanted = {name for name, default in known.items() if default is inspect.Parameter.empty}
    advice = f'; take --config=configs/{config.method}.py for method "{config.method}".'
    for word, names in (
        ("lacks", wanted - set(config.objective)),
        ("should not hold", set(config.objective) - set(known)),
    ):
        if names:
            raise UserError(f"config.objective {word} {', '.join(sorted(names))}{advice}")
    for key, names in NAMES.items():
        if key in config.objective and config.objective[key] not in names:
            name = config.objective[key]
            raise UserError(f'config.objective.{key} = "{name}" is unknown.{nearest(name, names)}')


def _check_sizes(config: ConfigDict, objective: Objective) -> None:
    method = f'method "{config.method}"'
    if config.clips.windows != objective.windows:
        count = f"{objective.windows} window{'s' if objective.windows > 1 else ''}"
        raise UserError(
            f"config.clips.windows = {config.clips.windows}: {method} takes {count} of a series."
        )
    if "token" in objective.parts and config.clips.frames < 2:
        raise UserError(
            f"config.clips.frames = {config.clips.frames}: {method} predicts frames from others "
            "and needs 2 or more."
        )
    _check_hidden(config, objective)
    if objective.views > 1 and config.train.batch_size < 2:
        raise UserError(
            f"config.train.batch_size = {config.train.batch_size}: {method} compares series with "
            "each other and needs 2 or more."
        )
    if config.optim.accumulate > config.train.steps:
        raise UserError(
            f"config.optim.accumulate = {config.optim.accumulate} is more than train.steps = "
            f"{config.train.steps}: there would be no update."
        )
    rest = config.train.steps % config.optim.accumulate
    if rest:
        fewer = config.train.steps - rest
        raise UserError(
            f"config.train.steps = {config.train.steps} is no multiple of optim.accumulate = "
            f"{config.optim.accumulate}, and its last {rest} would make no update: use {fewer} or "
            f"{fewer + config.optim.accumulate}."
        )


def _check_hidden(config: ConfigDict, objective: Objective) -> None:
    """Something is to be removed or hidden, and VideoMAE has no place for times."""
    method, ratio = f'method "{config.method}"', config.objective.get("mask_ratio")
    if "mae" in objective.parts:
        if config.model.time_embedding:
            raise UserError(
                f"config.model.time_embedding = True: {method} embeds no times; say False."
            )
        count, unit = _maskable(config)
        if masking.kept_count(count, ratio) >= count:
            raise UserError(
                f"config.objective.mask_ratio = {ratio}: {method} reconstructs what is removed, "
                f"and of {count} {unit} none would be; take more, such as 0.9."
            )
    elif ratio == 0:
        raise UserError(
            f"config.objective.mask_ratio = 0: {method} predicts frames that are hidden, and none "
            "would be; take more, such as 0.15, or method csimclr_te, which predicts nothing."
        )


def _maskable(config: ConfigDict) -> tuple[int, str]:
    """What VideoMAE's masks choose from in a full clip: places of a frame (tubes), or tokens."""
    m = config.model
    places = (m.image_size // m.patch_size) ** 2
    if config.objective.masking == "tube":
        return places, "places"
    return places * (config.clips.frames // m.tubelet), "tokens"


def _check_averaged(config: ConfigDict, objective: Objective) -> None:
    if config.train.ema_target and not config.train.ema:
        raise UserError("config.train.ema_target = True needs config.train.ema, such as 0.996.")
    if config.train.ema_target and "token" not in objective.parts:
        raise UserError(
            f'config.train.ema_target = True: method "{config.method}" predicts no features; '
            "only tvrl and causal do."
        )


def _check_targets(store: Store) -> None:
    """Each target must differ between training series, or there is nothing to learn of it."""
    train = store.split("train")
    for target_N, target in zip(store.targets()[train].T, store.known_targets, strict=True):
        found = np.unique(target_N[~np.isnan(target_N)])
        if len(found) < 2:
            held = "one value only" if len(found) else "no value"
            raise UserError(
                f'{store.where}, column "{target.column}": the {len(train)} training series have '
                f"{held}; there is nothing to learn from it (data.targets)."
            )
