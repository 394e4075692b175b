"""A configuration is a Python file: whatever it returns or raises, the answer is one sentence."""

import pytest
from fuzz import law

from configs import base
from tvrl_jax import settings
from tvrl_jax.command import configuration
from tvrl_jax.errors import UserError

TEXT = """from configs import tvrl
def get_config():
    c = tvrl.get_config()
    {}
    return c
"""


def refuse(tmp_path, body: str, words: str) -> None:
    path = tmp_path / "given.py"
    path.write_text(TEXT.format(body))
    with pytest.raises(UserError, match=words) as error:
        config = configuration.load(str(path), base.get_config())
        settings.check_sections(config, base.get_config())
        settings.check(config)
    law.check_sentence(str(error.value))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise SystemExit(0)", r"given\.py is no configuration .*SystemExit, line 4"),
        ("c.unlock(); c.train = c", "has a section that holds itself"),
        ("c.unlock(); c[3] = 1", "has a key that is no text"),
        ("with c.ignore_type(): c.augment = (1,)", r"config\.augment must be a section"),
        ("c.unlock(); c.optim = None", r"config\.optim must be a section"),
        ("with c.ignore_type(): c.objective = 3", r"config\.objective must be a section"),
        ("c.unlock(); del c.objective", "config lacks objective, which may be empty"),
        ("c.unlock(); del c.seed", "config lacks seed, such as 0"),
        ("c.unlock(); del c.optim", r"config\.optim lacks"),
        ("with c.ignore_type(): c.optim.lr = 'x'", r"lr = 'x' must be such as 0\."),
        ("with c.ignore_type(): c.train.steps = True", "steps = True must be such as"),
        ("with c.ignore_type(): c.data.percentiles = 'ab'", "percentiles = 'ab' must be such as"),
        ("with c.ignore_type(): c.objective.latent_weight = 'x'", "weight = x must be between"),
        ("with c.ignore_type(): c.data.root = {}", "root = .* must be such as"),
    ],
)
def test_a_configuration_of_anything_is_one_sentence(tmp_path, body, words):
    refuse(tmp_path, body, words)


def test_a_preset_for_what_takes_none_is_refused(tmp_path):
    (tmp_path / "given.py").write_text("get_config = dict.fromkeys\n")
    with pytest.raises(UserError, match="no configuration"):
        configuration.load(f"{tmp_path / 'given.py'}:x", base.get_config())
