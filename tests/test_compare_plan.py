"""Methods differ in what makes them alone, and a mistake is found before anything runs."""

import pytest
from comparisons import small_plan

from configs import cohorts
from configs import compare as presets
from tvrl_jax import settings
from tvrl_jax.comparison import collect, plan
from tvrl_jax.comparison.plan import TRAIN
from tvrl_jax.errors import UserError


@pytest.mark.parametrize("cohort", sorted(cohorts.PRESETS))
def test_methods_differ_only_in_what_makes_them(cohort, known, tmp_path):
    config = presets.get_config(cohort)
    config.shared.data.targets = config.shared.data.targets or ("label:regression",)
    trained = small_plan(config, tmp_path, known).pretraining
    allowed = {key for only in config.only.values() for key, _ in settings.leaves(only)}
    for key in plan.differing(trained):
        assert plan.inherent(config, key) or key in allowed, key
    assert set(trained) == set(config.methods) and len(trained) == 7
    for key in ("augment", "optim", "train", "data", "log"):
        assert len({str(one[key]) for one in trained.values()}) == 1, key


@pytest.mark.parametrize("cohort", ["phantom_cardiac", "phantom_retina", "own"])
def test_what_is_said_of_all_methods_reaches_all(cohort, known):
    """Whatever key of `shared` a flag changes, every method has it, but for a patch of its own."""
    config = presets.get_config(cohort)
    before = dict(settings.leaves(config.shared))
    with config.unlocked(), config.ignore_type():
        for key, value in before.items():
            config.update_from_flattened_dict({f"shared.{key}": _other(value)})
    for method in config.methods:
        made = dict(settings.leaves(plan.pretraining(config, method, 0, known)))
        for key, value in before.items():
            own = method == "videomae" and key == "model.patch_size" and cohort != "own"
            if not plan.inherent(config, key) and not own:
                assert made[key] == _other(value), (method, key)


def _other(value):
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return (*value, *value[-1:])
    return value + ("x" if isinstance(value, str) else 1)


def test_what_is_said_of_one_method_leaves_the_others(known):
    config = presets.get_config("phantom_retina")
    config.update_from_flattened_dict({"shared.clips.drop": 0.2, "only.videomae.clips.drop": 0.1})
    drops = {m: plan.pretraining(config, m, 0, known).clips.drop for m in config.methods}
    assert drops.pop("videomae") == 0.1 and set(drops.values()) == {0.2}


def test_each_method_keeps_what_makes_it(known, tmp_path):
    config = presets.get_config("phantom_cardiac")
    trained = small_plan(config, tmp_path, known).pretraining
    for name, one in trained.items():
        own = known.method(name, "phantom_cardiac")
        if name == "tvrl":  # hides frames from no comparison, as the others
            own.objective.masked_contrast = False
        assert one.objective == own.objective and one.method == name
        assert one.clips.windows == own.clips.windows == (2 if name in ("cvrl", "ltn") else 1)
        assert one.model.time_embedding == own.model.time_embedding
        assert one.model.arch == "micro" and one.train.steps == config.shared.train.steps
    assert trained["videomae"].model.stem == "patch"
    assert trained["videomae"].model.patch_size == 8 and trained["tvrl"].model.patch_size == 16


def test_flags_are_the_whole_difference_from_the_methods_own_file(known, tmp_path):
    planned = small_plan(presets.get_config("phantom_cardiac"), tmp_path, known)
    cell = next(c for c in planned.cells if c.method == "videomae" and c.kind == TRAIN)
    made = dict(settings.leaves(known.method("videomae", "phantom_cardiac")))
    for flag in cell.arguments[2:-1]:
        key, value = flag.removeprefix("--config.").split("=", 1)
        assert str(made[key]) != value
        made[key] = value
    wanted = dict(settings.leaves(planned.pretraining["videomae"]))
    assert {k: str(v) for k, v in made.items()} == {k: str(v) for k, v in wanted.items()}


def test_untrained_is_measured_once_for_each_architecture(known, tmp_path):
    config = presets.get_config("phantom_cardiac")
    config.seeds = (3, 4)
    planned = small_plan(config, tmp_path, known)
    lent = [(c.method, c.seed) for c in planned.cells if "untrained" in c.baselines]
    assert lent == [("cvrl", 3), ("videomae", 3), ("csimclr_te", 3)]
    assert collect.names(planned)[-4:] == [
        "untrained (cvrl)",
        "untrained (videomae)",
        "untrained (csimclr_te)",
        "constant",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(methods=("cvlr",)), ["config.methods", "cvlr", "cvrl"]),
        (lambda c: c.update(methods=()), ["config.methods", "empty"]),
        (lambda c: c.update(methods=("cvrl", "cvrl")), ["twice"]),
        (lambda c: c.update(seeds=()), ["config.seeds", "empty"]),
        (lambda c: c.update(seeds=(-1,)), ["config.seeds", "-1"]),
        (lambda c: c.update(seeds=(0, 99999999999)), ["config.seeds", "99999999999", "2^32"]),
        (lambda c: c.update(seeds=(0, True)), ["config.seeds", "True"]),
        (lambda c: c.update(baselines=("constant",) * 2), ["config.baselines", "twice"]),
        (lambda c: c.update(claimed=("tvrl",) * 2), ["config.claimed", "twice"]),
        (lambda c: c.bootstrap.update(samples=0), ["config.bootstrap.samples = 0", "at least 1"]),
        (lambda c: c.bootstrap.update(samples=10**12), ["config.bootstrap.samples", "1000000"]),
        (lambda c: c.bootstrap.update(seed=-1), ["config.bootstrap.seed = -1", "0 or more"]),
        (lambda c: c.update(probes=("liner",)), ["config.probes", "liner", "linear"]),
        (lambda c: c.update(probes=("supervised",)), ["config.probes", "supervised"]),
        (lambda c: c.update(probes=("linear", "cls")), ['"cls"', '"videomae" is joint']),
        (lambda c: c.update(baselines=("chance",)), ["config.baselines", "chance"]),
        (lambda c: c.only.update({"tvlr": {}}), ["config.only", "tvlr", "tvrl"]),
        (lambda c: c.only.update({"tvrl": {"optim": {"lrr": 1.0}}}), ["only.tvrl", "optim.lr"]),
        (lambda c: c.only.update({"tvrl": {"optim": {"lr": "x"}}}), ["only.tvrl.optim.lr", "'x'"]),
        (lambda c: c.only.update({"tvrl": {"optim": {"lr": float("nan")}}}), ["optim.lr"]),
        (lambda c: c.probe.update({"fraction": (1.0,)}), ["config.probe", "fractions"]),
        (lambda c: c.shared.optim.update(lr=-1.0), ["optim.lr", "greater than 0"]),
        (lambda c: c.shared.optim.update(accumulate=10**6), ["optim.accumulate", "train.steps"]),
        (lambda c: c.only.update({"cvrl": {"clips": {"windows": 1}}}), ['method "cvrl" takes 2']),
        (lambda c: c.probe.update(fractions=()), ["config.fractions is empty"]),
        (lambda c: c.shared.data.update(targets=()), ["shared.data.targets", '"linear"']),
        (lambda c: c.update(probes=("cox",)), ["shared.data.columns.event", '"cox"']),
    ],
)
def test_mistakes_are_found_before_anything_runs(change, words, known, tmp_path):
    config = presets.get_config("phantom_cardiac").unlock()
    change(config)
    with pytest.raises(UserError) as caught:
        small_plan(config, tmp_path / "x", known)
    for word in words:
        assert word in str(caught.value), caught.value
    assert not (tmp_path / "x").exists()
