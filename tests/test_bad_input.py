"""What is typed wrong ends with one sentence that names it, whatever the mistake."""

import contextlib
import os
import signal
import sys

import numpy as np
import pytest
from conftest import ROOT
from forked import run_all

from configs import base, causal, csimclr, cvrl, demo, ltn, probe_base, supervised, tvrl, videomae
from tvrl_jax import settings, signals
from tvrl_jax.command import cli, manual
from tvrl_jax.data import opening
from tvrl_jax.errors import UserError

TVRL = "--config=configs/tvrl.py"
KNN = "--config=configs/probe_knn.py"
WORK = "--workdir=/nowhere/run"
CASES = [
    (("train.py", "--config=", WORK), "--config is empty; name a file such as configs/tvrl.py"),
    (("train.py", "--config", WORK), "--config is empty"),
    (
        ("train.py", TVRL, WORK, "--config.augment.crop=(0.5,1.0)", "-config.augment.crop=(0,1)"),
        "--config.augment.crop is given twice",
    ),
    (("train.py", "--config.seed=1", WORK), "--config is missing"),
    (("train.py", TVRL, "--config", "configs/x.py", WORK), "--config is given twice"),
    (("train.py", "--config=configs", WORK), "configs is a folder"),
    (("train.py", "--config=configs/tvlr.py", WORK), 'configs/tvlr.py. Did you mean "configs/tvrl'),
    (
        ("train.py", "--config=README.md", WORK),
        "README.md is no configuration that can be executed (",
    ),
    (("train.py", "--config=configs/cohorts.py", WORK), "cohorts.py has no get_config()"),
    (
        ("train.py", "--config=configs/probe_knn.py", WORK),
        "a configuration of probe.py, not of train",
    ),
    (
        ("train.py", "--config=configs/compare.py", WORK),
        "configuration of python -m tvrl_jax.compare",
    ),
    (("probe.py", TVRL, WORK), "configs/tvrl.py is a configuration of train.py, not of probe.py"),
    (("probe.py", f"{KNN}:phantom_cardiac", WORK), 'takes no preset; leave ":phantom_cardiac" out'),
    (("train.py", f"{TVRL}:brain", WORK), 'no cohort preset "brain"'),
    (
        ("train.py", TVRL, WORK, "--config.objective.temprature=1"),
        'objective.temprature: there is no such key. Did you mean "objective.temperature"',
    ),
    (
        ("train.py", "--config=configs/cvrl.py", WORK, "--config.objective.mask_ratio=0.1"),
        "objective.mask_ratio: there is no such key",
    ),
    (
        ("train.py", TVRL, WORK, "--config.data.root=x", "--config.data="),
        "--config.data would undo --config.data.root",
    ),
    (("train.py", TVRL, WORK, "--config.data=None"), "--config.data=None: it is a section"),
    (
        ("train.py", TVRL, WORK, "--config.seed=1e3"),
        "--config.seed=1e3: it takes a whole number, such as 0",
    ),
    (
        ("train.py", TVRL, WORK, "--config.optim.lr=fast"),
        "--config.optim.lr=fast: it takes a number",
    ),
    (
        ("train.py", TVRL, WORK, "--config.log.tensorboard=maybe"),
        "tensorboard=maybe: it takes True or False.",
    ),
    (
        ("train.py", TVRL, WORK, "--config.augment.crop=('a','b')"),
        "augment.crop = ('a', 'b') must be numbers, such as (0.08",
    ),
    (
        ("probe.py", KNN, WORK, "--checkpoint=x", "--config.linear.weight_decays=(nan,)"),
        "weight_decays = (nan,) must be numbers",
    ),
    (("train.py", TVRL, WORK, "--resume=perhaps"), "--resume=perhaps: say --resume"),
    (
        ("train.py", TVRL, WORK, f"--config.seed={'x' * 5000}"),
        "(5000 characters): it takes a whole number",
    ),
    (("train.py", "--config.seed=1", TVRL, WORK), "--config.seed stands before --config"),
]


def _open(folder, text: str, **changes):
    """The cohort of a table with this text, in a folder with one good file."""
    (folder / "cohort.csv").write_text(text)
    np.save(folder / "a.npy", np.zeros((2, 8, 8), np.uint8))
    config = base.get_config()
    keys = {"root": str(folder), "csv": "cohort.csv", "frame_interval": 1.0, "image_size": 8}
    config.data.update({**keys, "store": str(folder / "store"), **changes})
    return opening.open_cohort(config.data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\nsubject,path\na,a.npy\n", "row 1 is blank: the header must stand there"),
        ('subject,path\na,a.npy\nb,"b.npy\nc,c.npy\n', "row 3 cannot be read .* quotation mark"),
        ("subject,path\na,a.npy\nb," + "x" * 140_000, "row 3 cannot be read .* 131072"),
        (
            "subject,path,y\na,a.npy," + "x" * 5000,
            r"xxx\.\.\. \(5000 characters\)\" is not a number",
        ),
        ("x" * 5000 + ";path\na;a.npy\n", "not separated by commas.*5005 characters"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_short_sentence(tmp_path, text, words):
    with pytest.raises(UserError, match=words) as error:
        _open(tmp_path, text, targets=("y:regression",))
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize("targets", [(1, 2), (None,), ("y",)])
def test_a_target_that_is_no_text_is_refused(tmp_path, targets):
    text = "subject,path,y\na,a.npy,1\n"
    with pytest.raises(UserError, match='data.targets has ".*": write "COLUMN:regression"'):
        _open(tmp_path, text, targets=targets)


def test_a_folder_in_the_table_s_place_is_said_to_be_one(tmp_path):
    with pytest.raises(UserError, match="store is no file"):
        _open(tmp_path, "", csv=str(tmp_path / "store"), store=str(_made(tmp_path / "store")))


def _made(folder):
    folder.mkdir()
    return folder


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "b.npy")
    with pytest.raises(UserError, match=r"row 3: .*b\.npy is a pipe or a device"):
        _open(tmp_path, "subject,path\na,a.npy\nb,b.npy\n")


@pytest.fixture(scope="module")
def answers():
    return run_all([arguments for arguments, _ in CASES])


@pytest.mark.parametrize(("arguments", "words"), CASES)
def test_a_mistake_on_the_command_line_is_one_sentence(answers, arguments, words):
    code, said = answers[arguments]
    assert code == 2, said
    assert said.startswith("error: ") and said.count("\n") == 1 and len(said) < 500, said
    assert words in said


def _out_of_memory():
    raise MemoryError("Unable to allocate 10.9 TiB")


def _interrupted():
    os.kill(os.getpid(), signal.SIGINT)


def _interrupted_import():
    with contextlib.suppress(KeyboardInterrupt):
        _interrupted()
    raise ImportError("initialization failed")


def _interrupted_before_the_loop():
    with contextlib.suppress(KeyboardInterrupt):
        _interrupted()
    with signals.Interruption() as interruption:
        assert interruption
        interruption.leave()


@pytest.mark.parametrize(
    ("main", "code", "words"),
    [
        (_out_of_memory, 2, "error: there is not enough memory (Unable to allocate 10.9 TiB)"),
        (_interrupted, 130, "interrupted; the same command starts it again."),
        (_interrupted_import, 130, "interrupted; the same command starts it again."),
        (_interrupted_before_the_loop, 130, ""),
    ],
)
def test_how_a_command_ends(monkeypatch, capsys, main, code, words):
    monkeypatch.setattr(cli, "_parse", lambda *_: None)
    monkeypatch.setattr(cli, "_set_up_jax", lambda: None)
    monkeypatch.setattr(cli, "_set_up_logging", lambda: None)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stop:
        cli.run(main, doc="", required=(), template="configs.base")
    assert stop.value.code == code and signal.getsignal(signal.SIGINT) == before
    said = capsys.readouterr().err
    assert said.startswith(words) and said.count("\n") == bool(words)


@pytest.mark.parametrize("module", [base, probe_base])
def test_help_says_what_every_key_means(module):
    config, said = module.get_config(), manual.comments(manual.source_of(module))
    keys = [key for key, _ in settings.leaves(config)]
    assert not [key for key in keys if not said.get(key)]
    page = manual.text("", [], config, said)
    assert not [key for key in keys if f"  --config.{key}=" not in page]


@pytest.mark.parametrize(
    "method",
    [tvrl, causal, csimclr, cvrl, demo, ltn, supervised, videomae],
    ids=lambda m: m.__name__,
)
def test_help_lists_what_the_chosen_method_adds(method):
    config = method.get_config()
    sources = [f"configs/{config.method}.py", base]
    said = {}
    for source in sources:
        path = source if source is base else ROOT / source
        said = {**manual.comments(manual.source_of(path)), **said}
    page = manual.text("", [], config, said)
    for key in config.objective:
        assert said[f"objective.{key}"] and f"--config.objective.{key}=" in page
    assert f"--config.method={config.method}" in page
