"""Checks of a configuration before anything is read, built or written."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

from tvrl_jax.errors import UserError, shorten
from tvrl_jax.peers import Alone
from tvrl_jax.scalars import is_number

TIME_UNITS = ("s", "ms", "frames", "days", "months", "years")
# Of those that other modules own, a test says that they agree: this one answers at once, without
# what they import.
CHOICES = {
    "data.time_unit": TIME_UNITS,
    "data.column_unit": ("", *TIME_UNITS),
    "data.fit": ("pad", "crop", "stretch"),
    "data.on_bad": ("stop", "skip"),
    "data.on_equal_times": ("stop", "keep"),
    "data.channels": (1, 3),
    "clips.sampling": ("random", "newest"),
    "clips.windows": (1, 2),
    "augment.time_origin": ("window", "newest"),
    "model.stem": ("conv", "patch"),
    "model.dtype": ("float32", "bfloat16"),
    "model.remat": ("none", "dots", "weights", "blocks"),
    "train.sharding": ("data", "full"),
    "train.batchnorm": ("exact", "micro"),
    "train.on_full": ("stop", "continue"),
    "train.on_nan": ("stop", "skip"),
}
AT_LEAST_ONE = """
    data.image_size data.threads clips.frames clips.stride model.image_size model.patch_size
    model.temporal_depth model.head_hidden model.head_width model.tubelet
    optim.accumulate train.steps train.batch_size train.micro_batches
    train.checkpoint_every train.keep train.max_skips log.every log.diagnose_every
    distributed.start distributed.timeout
""".split()
POSITIVE = """
    model.input_std model.max_period optim.lr optim.eps objective.temperature train.grace
""".split()
NOT_NEGATIVE = """
    seed data.frame_interval data.split_seed data.pixel_mm data.workers data.phantom.subjects
    data.phantom.seed data.phantom.size augment.rotation augment.brightness augment.contrast
    augment.time_shift augment.time_jitter model.temporal_width model.temporal_heads
    model.decoder_width model.decoder_depth model.decoder_heads optim.weight_decay optim.clip_norm
    train.capacities train.contrast_tile
""".split()
FRACTIONS = """
    augment.hflip augment.vflip augment.jitter_probability augment.blur_probability
    augment.time_scale augment.interval_scale clips.drop clips.drop_spread optim.warmup_fraction
    objective.latent_weight objective.start_fraction
""".split()
BELOW_ONE = """
    model.dropout model.drop_path optim.b1 optim.b2 train.ema objective.mask_ratio
""".split()
# Far above what anyone needs: beyond, memory runs out, or a 32-bit number overflows.
SEEDS = "seed data.split_seed data.phantom.seed".split()
SIDES = "data.image_size data.phantom.size model.image_size model.patch_size".split()
FEW = """
    data.threads data.workers model.temporal_depth model.temporal_heads model.decoder_depth
    model.decoder_heads model.tubelet train.capacities train.keep clips.frames
""".split()
MANY = """
    clips.stride model.temporal_width model.head_hidden model.head_width model.decoder_width
    train.batch_size train.contrast_tile data.phantom.subjects
""".split()
LONG = """
    optim.accumulate train.steps train.checkpoint_every log.every log.diagnose_every train.grace
    distributed.start distributed.timeout
""".split()
RANGES = {"augment.crop": (1e-3, 1.0), "augment.blur_sigma": (0.0, math.inf)}
RULES: tuple[tuple[list[str], Callable[[Any], bool], str], ...] = (
    (AT_LEAST_ONE, lambda v: v >= 1, "at least 1"),
    (POSITIVE, lambda v: v > 0, "greater than 0"),
    (NOT_NEGATIVE, lambda v: v >= 0, "0 or more"),
    (FRACTIONS, lambda v: 0 <= v <= 1, "between 0 and 1"),
    (BELOW_ONE, lambda v: 0 <= v < 1, "at least 0 and below 1"),
    (["model.temporal_width"], lambda v: v != 1, "0, or 2 or more"),  # a time: a cosine and a sine
    (SEEDS, lambda v: v < 2**32, "below 2^32"),
    (SIDES, lambda v: v <= 8192, "8192 at most"),
    (FEW, lambda v: v <= 1000, "1000 at most"),
    (MANY, lambda v: v <= 100_000, "100000 at most"),
    (LONG, lambda v: v <= 10**9, "10^9 at most"),
)
# Keys that older runs, probes and comparisons lack: the section by which such a configuration is
# known, and the value that does what was done then.
SINCE = {
    "clips.drop_spread": ("clips", 0.0),
    "export.feature": ("temporal", "cls"),
    "export.frames": ("temporal", False),
    "probe.data.columns.split": ("probe.data", ""),
    "probe.data.cohort": ("probe.data", ""),
}
# What may differ when a run continues: where things lie and how often they are written.
MAY_CHANGE = (
    *("log.", "data.root", "data.store", "data.threads", "data.workers", "data.on_bad"),
    "train.keep",
    *("train.on_full", "train.on_nan", "train.max_skips", "train.grace", "distributed."),
    "profile.",
)

# What the processes of one run may be given differently: where a machine has its things, and how
# many hands it reads with. What is logged and checked they do together, all at the same steps.
OF_A_MACHINE = ("data.root", "data.store", "data.threads", "data.workers", "log.compilation_cache")


def leaves(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every entry."""
    for key in sorted(config):
        value = config[key]
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check(config: ConfigDict) -> None:
    """Raises UserError for a value that makes no sense, naming its key."""
    values = dict(leaves(config))
    for key, value in values.items():
        _check_finite(key, value)
    for keys, holds, what in RULES:
        for key in keys:
            if key in values and not (is_number(values[key]) and holds(values[key])):
                raise UserError(f"config.{key} = {values[key]} must be {what}.")
    for key, allowed in CHOICES.items():
        if key in values and values[key] not in allowed:
            raise UserError(f"config.{key} = {values[key]!r} must be one of {_words(allowed)}.")
    for key, (low, high) in RANGES.items():
        if key in values:
            _check_pair(key, values[key], low, high)
    if "data.percentiles" in values:
        _check_pair("data.percentiles", values["data.percentiles"], 0.0, 100.0)
    if "data.split_fractions" in values:
        _check_split(values["data.split_fractions"])


def check_sections(
    config: ConfigDict, template: ConfigDict, open_sections=("objective", "only")
) -> None:
    """Raises UserError for a section or key of `template` that `config` lacks (or has besides)."""
    for name, section in template.items():
        if name not in config and not (isinstance(section, ConfigDict) and section):
            shown = (
                "which may be empty" if isinstance(section, ConfigDict) else f"such as {section!r}"
            )
            raise UserError(f"config lacks {name}, {shown}.")
        if not isinstance(section, ConfigDict):
            if name not in open_sections:
                _check_type(name, config[name], section)
            continue
        if not isinstance(config.get(name, section), ConfigDict):
            raise UserError(f"config.{name} must be a section, with the keys of configs/base.py.")
        if name in open_sections and name in config:
            continue
        missing = sorted(set(section) - set(config[name])) if name in config else sorted(section)
        if missing:
            raise UserError(
                f"config.{name} lacks {', '.join(missing)}; a section cannot be emptied."
            )
        check_sections(config[name], section, open_sections)


def _check_type(key: str, value: Any, example: Any) -> None:
    """A configuration that was unlocked may hold anything."""
    kinds = {bool: bool, int: int, float: int | float, str: str, tuple: tuple | list}
    kind = kinds.get(type(example), object)
    if not isinstance(value, kind) or (isinstance(value, bool) and type(example) in (int, float)):
        raise UserError(f"config: {key} = {shorten(repr(value))} must be such as {example!r}.")


def check_kinds(config: ConfigDict, before: ConfigDict) -> None:
    """Raises UserError for a tuple of text where numbers stood `before` (or the reverse)."""
    was = dict(leaves(before))
    for key, value in leaves(config):
        first = next(iter(was.get(key) or ()), None) if isinstance(was.get(key), tuple) else None
        if first is None:
            continue
        kind, word = (str, "text") if isinstance(first, str) else (int | float, "numbers")
        if not all(isinstance(v, kind) for v in value):
            # A tuple that cannot be read, such as (nan,), comes as one text.
            shown = value[0] if len(value) == 1 else value
            raise UserError(f"config.{key} = {shown} must be {word}, such as {was[key]}.")


def _words(options) -> str:
    return ", ".join(str(o) or '"" (none)' for o in options)


def _check_finite(key: str, value: Any) -> None:
    numbers = value if isinstance(value, tuple | list) else (value,)
    for number in numbers:
        if isinstance(number, float) and not math.isfinite(number):
            raise UserError(f"config.{key} = {value} must be a finite number.")


def _numbers(key: str, value: Any, count: int) -> tuple[float, ...]:
    good = isinstance(value, tuple | list) and len(value) == count
    if not good or not all(isinstance(v, int | float) for v in value):
        raise UserError(f"config.{key} = {value} must be {count} numbers.")
    return tuple(value)


def _check_pair(key: str, value: Any, low: float, high: float) -> None:
    first, second = _numbers(key, value, 2)
    if not low <= first <= second <= high:
        raise UserError(f"config.{key} = {value} must rise, within {low} to {high}.")


def _check_split(value: Any) -> None:
    parts = _numbers("data.split_fractions", value, 3)
    if min(parts) < 0 or parts[0] <= 0 or abs(sum(parts) - 1) > 1e-6:
        raise UserError(
            f"config.data.split_fractions = {value} must be train, val and test fractions "
            "that sum to 1, with some for train."
        )


def agree(config: ConfigDict, peers: Alone) -> None:
    """Raises UserError, on all processes of a run, if they were given different settings."""

    def compare(found: list[str]) -> None:
        first = from_json(found[0])
        for index, text in enumerate(found):
            # What is equal as text is equal, although a NaN is not equal to itself.
            changed = text != found[0] and _apart(first, from_json(text), OF_A_MACHINE)
            if changed:
                raise UserError(
                    f"process {index} was started with another configuration than process 0 "
                    f"(config.{changed[0]}): give all of them the same."
                )

    peers.agree(to_json(config), compare)


def to_json(config: ConfigDict) -> str:
    return json.dumps(config.to_dict(), indent=1, sort_keys=True)


def from_json(text: str) -> ConfigDict:
    """What `to_json` wrote, with tuples again where JSON has lists."""

    def tuples(value):
        if isinstance(value, dict):
            return {k: tuples(v) for k, v in value.items()}
        return tuple(tuples(v) for v in value) if isinstance(value, list) else value

    return ConfigDict(tuples(json.loads(text)))


def stored(text: str) -> ConfigDict:
    """The configuration of a run, as `to_json` wrote it, perhaps by an older version."""
    config = from_json(text)
    for key, (section, value) in SINCE.items():
        if section_of(config, section) is not None and key not in dict(leaves(config)):
            config.update(_nested(key, value))
    return config


def _nested(key: str, value: Any) -> dict:
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def section_of(config: ConfigDict, key: str) -> ConfigDict | None:
    """What stands at a dotted key, where that is a section; else None."""
    for name in key.split("."):
        config = config.get(name) if isinstance(config, ConfigDict) else None
    return config if isinstance(config, ConfigDict) else None


def differences(old: ConfigDict, new: ConfigDict, apart: tuple[str, ...] = ()) -> list[str]:
    """`key = old, not new` for all that makes it another run. `apart`: how keys begin that do not,
    besides MAY_CHANGE."""
    return _apart(old, new, (*MAY_CHANGE, *apart))


def _apart(old: ConfigDict, new: ConfigDict, free: tuple[str, ...]) -> list[str]:
    """`key = old, not new`, but of keys that begin so as to be free."""
    before, after = dict(leaves(old)), dict(leaves(new))
    # What only one of them has comes last: it may be new to this version.
    keys = sorted(
        before.keys() | after.keys(), key=lambda k: (k not in before or k not in after, k)
    )
    return [
        f"{key} = {before.get(key, 'absent')}, not {after.get(key, 'absent')}"
        for key in keys
        if before.get(key) != after.get(key) and not key.startswith(free)
    ]
