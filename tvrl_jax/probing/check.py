"""Checks of a probe's configuration and cohort before anything is computed."""

from tvrl_jax.errors import UserError, nearest

KINDS = ("linear", "cls", "knn", "temporal", "finetune", "supervised")
BASELINES = ("untrained", "constant")
FEATURES = ("cls", "token")
SAME = ("time_unit", "channels", "image_size")


def config(c) -> None:
    """Raises UserError for a value of a probe's configuration that makes no sense."""
    _one_of("kind", c.kind, KINDS)
    for name in c.baselines:
        _one_of("baselines", name, BASELINES)
    for section in ("linear", "knn"):
        _one_of(f"{section}.feature", c[section].feature, FEATURES)
    if not c.fractions:
        raise UserError("fractions is empty; give label fractions such as (0.1, 1.0).")
    for key, value in _whole(c):
        if value < 1:
            raise UserError(f"config.{key} = {value} must be at least 1.")
    for section in ("linear", "cls", "finetune"):
        _grid(f"{section}.learning_rates", c[section].learning_rates, above=True)
        _grid(f"{section}.weight_decays", c[section].weight_decays, above=False)
    _grid("knn.ks", c.knn.ks, above=True)
    if c.knn.temperature <= 0:
        raise UserError(f"config.knn.temperature = {c.knn.temperature} must be greater than 0.")
    if c.kind == "temporal":
        _temporal(c)


def _temporal(c) -> None:
    for key, allowed in (("baselines", ("untrained",)), ("against", ())):
        other = [name for name in c[key] if name not in allowed]
        if other:
            raise UserError(
                f'config.{key} has "{other[0]}"; kind "temporal" takes '
                f"{' or '.join(['()', *(f'({name!r},)' for name in allowed)])}."
            )
    for name in ("windows", "pairs", "bins", "subjects", "classes"):
        if c.temporal[name] < 1:
            raise UserError(f"config.temporal.{name} = {c.temporal[name]} must be at least 1.")
    if c.temporal.retrieval < 2:
        raise UserError(f"config.temporal.retrieval = {c.temporal.retrieval} must be at least 2.")
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
    for section in ("cls", "finetune"):
        for name in ("epochs", "batch_size", "min_steps", "evaluations", "val_windows"):
            yield f"{section}.{name}", c[section][name]


def _one_of(key: str, value: str, known) -> None:
    if value not in known:
        raise UserError(f'config.{key} has "{value}".{nearest(str(value), known)}')


def _grid(key: str, values, *, above: bool) -> None:
    good = all(isinstance(v, int | float) and (v > 0 or (v == 0 and not above)) for v in values)
    if not values or not good:
        what = "greater than 0" if above else "0 or more"
        raise UserError(f"config.{key} = {values} must be one or more numbers, each {what}.")


def cohort(store, pretraining) -> None:
    """Raises UserError where the cohort's unit, channels or frame size are not the encoder's."""
    for key in SAME:
        is_now, was = getattr(store, key), pretraining.data[key]
        if is_now != was:
            raise UserError(
                f"data.{key} of the probe's cohort is {is_now}, but the checkpoint was trained "
                f"with {was}; the two must agree."
            )
