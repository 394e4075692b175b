"""A configuration that makes no sense is named before anything is read or written."""

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import (
    base,
    causal,
    cohorts,
    compare,
    csimclr,
    cvrl,
    probe_base,
    supervised,
    tvrl,
    videomae,
)
from tvrl_jax import agreement, learner, settings
from tvrl_jax.data import clips, intensity, times
from tvrl_jax.errors import UserError
from tvrl_jax.files import run_folder
from tvrl_jax.models import remat, sizes
from tvrl_jax.peers import Alone

METHODS = dict(
    tvrl=tvrl, causal=causal, csimclr=csimclr, cvrl=cvrl, videomae=videomae, supervised=supervised
)


def test_base_is_sound():
    settings.check(base.get_config())


def test_every_key_of_base_has_a_comment():
    lines = Path(base.__file__).read_text().splitlines()
    keys = [k for k, line in enumerate(lines) if line.startswith("    c.")]
    said = [k for k in keys if "#" in lines[k] or lines[k - 1].strip().startswith("#")]
    assert {
        lines[k] for k in set(keys) - set(said) if not lines[k].endswith("ConfigDict()")
    } == set()


def test_every_rule_names_a_key_of_base():
    known = {key for method in METHODS.values() for key, _ in settings.leaves(method.get_config())}
    named = {key for keys, _, _ in settings.RULES for key in keys}
    named |= set(settings.CHOICES) | set(settings.RANGES)
    assert named <= known


def test_choices_are_those_of_the_modules_that_make_them():
    known = {
        "data.time_unit": times.UNITS,
        "data.column_unit": ("", *times.UNITS),
        "data.fit": intensity.FITS,
        "clips.sampling": clips.SAMPLINGS,
        "model.dtype": sizes.DTYPES,
        "model.remat": remat.POLICIES,
    }
    for key, names in known.items():
        assert set(settings.CHOICES[key]) == set(names), key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optim.lr", float("nan")),
        ("optim.lr", -1e-3),
        ("optim.lr", 0.0),
        ("seed", -1),
        ("train.batch_size", 0),
        ("train.steps", -5),
        ("augment.crop", (0.9, 0.1)),
        ("augment.crop", ("a", 1)),
        ("augment.crop", (0.1,)),
        ("augment.crop", (0.0, 0.0)),
        ("augment.hflip", 1.5),
        ("model.dropout", 1.0),
        ("data.time_unit", "fortnights"),
        ("data.percentiles", (1.0, 101.0)),
        ("data.split_fractions", (0.5, 0.1, 0.1)),
        ("model.dtype", "float8"),
        ("objective.temperature", 0.0),
        ("objective.temperature", -1.0),
        ("objective.mask_ratio", 1.0),
        ("objective.mask_ratio", -0.1),
        ("objective.latent_weight", 1.5),
        ("objective.start_fraction", -0.5),
        ("seed", 2**32),
        ("clips.stride", 10**20),
        ("clips.frames", 10**8),
        ("data.image_size", 10**6),
        ("data.threads", 10**6),
        ("train.steps", 10**12),
        ("data.column_unit", "hours"),
        ("model.temporal_width", 1),
    ],
)
def test_nonsense_is_refused_by_name(key, value):
    config = tvrl.get_config()
    with config.ignore_type():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=f"config.{key}"):
        settings.check(config)


def test_emptied_section_is_refused():
    config = base.get_config()
    config.model = {}
    with pytest.raises(UserError, match="config.model lacks .*arch"):
        settings.check_sections(config, base.get_config())


def test_json_round_trip_keeps_tuples():
    config = base.get_config()
    assert settings.from_json(settings.to_json(config)).to_dict() == config.to_dict()


def test_folder_of_another_run_is_refused(tmp_path):
    config = base.get_config()
    run_folder.prepare(tmp_path, config)
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    run_folder.refuse_other(tmp_path, config, resume=False)
    config.log.every = 7
    run_folder.refuse_other(tmp_path, config, resume=False)
    config.optim.lr = 0.5
    with pytest.raises(UserError, match=r"optim.lr = 0.0002, not 0.5"):
        run_folder.refuse_other(tmp_path, config, resume=False)
    run_folder.refuse_other(tmp_path, config, resume=True)


def _nested(leaves: dict) -> ConfigDict:
    made = {}
    for key, value in leaves.items():
        *above, name = key.split(".")
        held = made
        for part in above:
            held = held.setdefault(part, {})
        held[name] = value
    return ConfigDict(made)


@pytest.mark.parametrize(
    ("module", "name", "keys", "other"),
    [
        (base, run_folder.CONFIG, ["clips.drop_spread"], 0.1),
        (probe_base, "probe_linear.json", ["export.frames", "export.feature"], "token"),
        (compare, run_folder.COMPARISON, ["probe.data.columns.split", "probe.data.cohort"], "part"),
    ],
)
def test_what_is_from_before_a_key_goes_on_with_what_was_done_then(
    tmp_path, module, name, keys, other
):
    config = module.get_config()
    older = dict(settings.leaves(config))
    for key in keys:
        del older[key]
    run_folder.prepare(tmp_path, _nested(older), name)
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    then = {key: settings.SINCE[key][1] for key in keys}
    held = dict(settings.leaves(run_folder.read(tmp_path, name)))
    assert held == older | then
    config.update_from_flattened_dict(then)
    run_folder.refuse_other(tmp_path, config, resume=False, name=name)
    config.update_from_flattened_dict({key: other})
    with pytest.raises(UserError, match=f"{key} = {then[key]}, not {other}"):
        run_folder.refuse_other(tmp_path, config, resume=False, name=name)


def test_a_run_without_a_checkpoint_gives_way_to_a_corrected_command(tmp_path):
    config = base.get_config()
    run_folder.prepare(tmp_path, config)
    (tmp_path / "checkpoints").mkdir()
    config.optim.lr = 0.5
    run_folder.refuse_other(tmp_path, config, resume=False)
    (tmp_path / "damaged" / "checkpoints-3").mkdir(parents=True)
    with pytest.raises(UserError, match="optim.lr"):
        run_folder.refuse_other(tmp_path, config, resume=False)


def test_a_folder_at_work_is_refused(tmp_path):
    refused = pytest.raises(UserError, match="another run is at work")
    with run_folder.lock(tmp_path), refused, run_folder.lock(tmp_path):
        pass
    with run_folder.lock(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "[1]", "{", "3", None])
def test_damaged_configuration_is_named(tmp_path, text):
    if text is None:
        (tmp_path / "config.json").mkdir()
    else:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(
        UserError, match="config.json (is not a configuration|cannot be read|is a folder)"
    ):
        run_folder.refuse_other(tmp_path, base.get_config(), resume=False)


@pytest.mark.parametrize(
    ("made", "workdir", "words"),
    [
        ("checkpoints/4/state", "checkpoints", "among the checkpoints"),
        ("checkpoints/4/state", "checkpoints/4", "among the checkpoints"),
        ("checkpoints/4/state", ".", "no config.json"),
        ("probe_knn.json", ".", "probe_knn.json"),
        ("comparison.json", ".", "comparison.json"),
    ],
)
def test_what_another_command_wrote_is_no_place_for_a_run(tmp_path, made, workdir, words):
    (tmp_path / made).mkdir(parents=True)
    with pytest.raises(UserError, match=words):
        run_folder.refuse_other(tmp_path / workdir, base.get_config(), resume=False)


@pytest.mark.parametrize("cohort", cohorts.PRESETS)
def test_who_learns_labels_sees_all_visits_at_their_times(cohort):
    """What hides a clock from views would hide what heart rate and prognosis are read from."""
    config = supervised.get_config(cohort)
    assert config.clips.drop == 0
    own, probes = config.augment, probe_base.get_config().augment
    different = {key for key in probes if own[key] != probes[key]}
    assert different <= {"blur_sigma"} and own.blur_probability == 0
    assert videomae.get_config(cohort).clips.drop == 0


@pytest.mark.parametrize("method", METHODS)
def test_every_method_agrees_with_itself(method):
    config = METHODS[method].get_config("phantom_cardiac")
    settings.check(config)
    agreement.check(config, learner.find_objective(config))


@pytest.mark.parametrize("arch", ["nano", "micro", "tiny", "small", "base", "large"])
@pytest.mark.parametrize("method", ["tvrl", "videomae"])
def test_every_size_is_chosen_by_its_name_alone(method, arch):
    config = METHODS[method].get_config()
    config.model.arch = arch
    settings.check(config)
    objective = learner.find_objective(config)
    agreement.check(config, objective)
    learner.make_network(config, objective, outputs=1)


@pytest.mark.parametrize(
    ("method", "changes", "words"),
    [
        ("tvrl", {"clips.windows": 2}, 'clips.windows = 2: method "tvrl" takes 1 window of'),
        ("csimclr", {"clips.windows": 2}, "takes 1 window"),
        ("cvrl", {"clips.windows": 1}, "takes 2 windows"),
        ("tvrl", {"clips.frames": 1}, "clips.frames = 1"),
        ("causal", {"clips.frames": 1}, "clips.frames = 1"),
        ("tvrl", {"train.batch_size": 1}, "batch_size = 1"),
        ("tvrl", {"optim.accumulate": 100, "train.steps": 99}, "accumulate = 100 is more than"),
        ("tvrl", {"optim.accumulate": 4, "train.steps": 10}, "its last 2 .*: use 8 or 12"),
        ("tvrl", {"method": "cvrl"}, "should not hold distance, .*configs/cvrl.py"),
        ("cvrl", {"method": "tvrl"}, "lacks distance, .*configs/tvrl.py"),
        ("tvrl", {"objective": {}}, "lacks distance, latent_weight, .*configs/tvrl.py"),
        ("tvrl", {"objective.distance": "cosin"}, 'objective.distance = "cosin".*"cosine"'),
        ("tvrl", {"objective.target_norm": "layers"}, 'target_norm = "layers".*"layer"'),
        ("videomae", {"objective.masking": "tubes"}, 'masking = "tubes".*"tube"'),
        ("tvrl", {"clips.interval": "linear"}, 'clips.interval = "linear"'),
        ("tvrl", {"data.store": ""}, "data.store is empty"),
        ("tvrl", {"train.ema_target": True}, "train.ema"),
        ("supervised", {"data.targets": ()}, "data.targets is empty: name what to learn"),
        ("videomae", {"objective.mask_ratio": 0.0}, "mask_ratio = 0.0: .* reconstructs"),
        ("videomae", {"objective.mask_ratio": 0.001}, "of 256 tokens none"),
        (
            "videomae",
            {"objective.mask_ratio": 0.005, "objective.masking": "tube"},
            "of 64 places none",
        ),
        ("videomae", {"model.time_embedding": True}, "embeds no times"),
        ("tvrl", {"objective.mask_ratio": 0.0}, "mask_ratio = 0: .* predicts frames"),
    ],
)
def test_settings_that_do_not_agree_are_refused(method, changes, words):
    config = METHODS[method].get_config()
    for key, value in changes.items():
        if isinstance(value, dict):
            config[key] = value
        else:
            config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=words):
        agreement.check(config, learner.find_objective(config))


def test_processes_that_were_given_different_settings_are_refused():
    """All of them, with the first key that differs."""
    given = [tvrl.get_config() for _ in range(3)]

    class Together(Alone):
        def agree(self, value, combine):
            return combine([settings.to_json(config) for config in given])

    for config in given:
        config.optim.eps = float("nan")  # is not equal to itself; another check refuses it
    settings.agree(given[0], Together())
    for config in given:
        config.optim.eps = 1e-8
    given[2].optim.lr *= 2
    with pytest.raises(UserError, match=r"process 2 was started .* \(config\.optim\.lr"):
        settings.agree(given[0], Together())


@pytest.mark.parametrize(
    ("key", "value", "alike"),
    [
        ("log.every", 7, False),  # decide what the processes compute together
        ("log.diagnose_every", 7, False),
        ("train.on_nan", "skip", False),
        ("train.max_skips", 1, False),
        ("train.on_full", "continue", False),
        ("train.keep", 9, False),
        ("data.on_bad", "skip", False),
        ("data.root", "/elsewhere", True),
        ("data.workers", 3, True),
        ("log.compilation_cache", "/elsewhere", True),
    ],
)
def test_processes_differ_in_what_belongs_to_a_machine_alone(key, value, alike):
    given = [tvrl.get_config(), tvrl.get_config()]
    given[1].update_from_flattened_dict({key: value})

    class Together(Alone):
        def agree(self, value, combine):
            return combine([settings.to_json(config) for config in given])

    if alike:
        settings.agree(given[0], Together())
    else:
        with pytest.raises(UserError, match=f"process 1 .*config.{key} = "):
            settings.agree(given[0], Together())
