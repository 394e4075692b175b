"""A configuration that makes no sense is named before anything is read or written."""

from pathlib import Path

import pytest

from configs import base
from tvrl_jax import run_folder, settings
from tvrl_jax.errors import UserError


def test_base_is_sound():
    settings.check(base.get_config())


def test_every_key_of_base_has_a_comment():
    source = Path(base.__file__).read_text()
    lines = [line for line in source.splitlines() if line.startswith("    c.")]
    bare = [line for line in lines if "#" not in line and not line.endswith("ConfigDict()")]
    assert not bare


def test_every_rule_names_a_key_of_base():
    known = {key for key, _ in settings.leaves(base.get_config())}
    named = {key for keys, _, _ in settings.RULES for key in keys}
    named |= set(settings.CHOICES) | set(settings.RANGES)
    assert named <= known


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
        ("augment.hflip", 1.5),
        ("model.dropout", 1.0),
        ("data.time_unit", "fortnights"),
        ("data.percentiles", (1.0, 101.0)),
        ("data.split_fractions", (0.5, 0.1, 0.1)),
        ("model.dtype", "float8"),
    ],
)
def test_nonsense_is_refused_by_name(key, value):
    config = base.get_config()
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
    run_folder.refuse_other(tmp_path, config, resume=False)
    config.log.every = 7
    run_folder.refuse_other(tmp_path, config, resume=False)
    config.optim.lr = 0.5
    with pytest.raises(UserError, match=r"optim.lr = 0.0002, not 0.5"):
        run_folder.refuse_other(tmp_path, config, resume=False)
    run_folder.refuse_other(tmp_path, config, resume=True)


@pytest.mark.parametrize("text", ["", "[1]", "{", "3"])
def test_damaged_configuration_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match="config.json"):
        run_folder.refuse_other(tmp_path, base.get_config(), resume=False)
