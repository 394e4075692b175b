"""A table of two cohorts: learned from one, tested on the other, and no image is moved."""

import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT

from configs import base
from tvrl_jax.data import external
from tvrl_jax.data.cohort import load_cohort
from tvrl_jax.errors import UserError

COLUMNS = dict(subject="subject", paths=("path",), split="split")
HOME = "subject,path,split,ef,age\n1,a.npy,train,50,61\n2,b.npy,val,60,62\n3,c.npy,test,70,63\n"
ABROAD = "path,subject,ef,note\nx.npy,1,40,n\nx.npy,1,40,n\nsub/y.npy,9,45,n\n"


@pytest.fixture
def tables(tmp_path):
    """Paths of both tables, with the images that they name, and of the new one."""
    for folder, text in (("home", HOME), ("abroad", ABROAD)):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "list.csv").write_text(text)
        for name in ("a", "b", "c", "x", "sub/y"):
            (tmp_path / folder / f"{name}.npy").touch()
    return tuple(str(tmp_path / name / "list.csv") for name in ("home", "abroad", "both"))


def combine(tables, prefix="ext-", **changes):
    return external.combine(*tables, **{**COLUMNS, **changes}, prefix=prefix)


def test_who_is_learned_from_stays_and_who_is_tested_comes_from_the_other_table(tables):
    made, alone = combine(tables)
    assert alone == ["age", "note"] and list(made.columns) == ["subject", "path", "split", "ef"]
    assert made.subject.tolist() == ["1", "2", "ext-1", "ext-1", "ext-9"]
    assert made.split.tolist() == ["train", "val", "test", "test", "test"]
    assert made.ef.tolist() == ["50", "60", "40", "40", "45"]  # as they stand in the files


def test_the_new_table_names_the_same_files(tables, tmp_path):
    made, _ = combine(tables)
    external.write(made.drop(index=3), tables[2])
    data = base.get_config().data
    data.root, data.csv = str(tmp_path / "both"), "list.csv"
    data.columns.split = "split"
    found = load_cohort(**data)
    paths = [source.path for record in found.records for source in record.sources]
    wanted = ("home/a", "home/b", "abroad/x", "abroad/sub/y")
    for path, name in zip(paths, wanted, strict=True):
        assert (tmp_path / f"{name}.npy").samefile(path)


@pytest.mark.parametrize(
    ("home", "abroad", "changes", "words"),
    [
        (HOME, ABROAD, {"prefix": ""}, ['patient "1"', "--prefix"]),
        (HOME.replace("train", "dev"), ABROAD, {}, ["row 2", '"dev"']),
        (HOME.replace("val", "train"), ABROAD, {}, ["says val"]),
        (HOME, ABROAD, {"subject": "patient"}, ["--subject", "patient"]),
        (HOME, ABROAD, {"paths": ("path", "mask")}, ["--path", "mask"]),
        (HOME, ABROAD, {"split": "part"}, ["--split", "part"]),
        (HOME, "subject,path\n", {}, ["no rows"]),
        (HOME, "subject,path\n,x.npy\n", {}, ["row 2", "subject is empty"]),
        (HOME + "1,d.npy,val,40,64\n", ABROAD, {}, ['patient "1" is in two splits']),
    ],
)
def test_mistakes_are_one_sentence(tables, tmp_path, home, abroad, changes, words):
    (tmp_path / "home" / "list.csv").write_text(home)
    (tmp_path / "abroad" / "list.csv").write_text(abroad)
    with pytest.raises(UserError) as error:
        combine(tables, **changes)
    for word in words:
        assert word in str(error.value), error.value


def test_the_command_writes_the_table_once(tables):
    flags = [f"--{k}={v}" for k, v in zip(("cohort", "test", "out"), tables, strict=True)]
    command = [sys.executable, "-m", "tvrl_jax.data.external", *flags]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
        for _ in range(2)
    )
    assert first.returncode == 0, first.stderr
    assert "left out" in first.stdout and "test: 2 patients, 3 rows" in first.stdout
    assert pd.read_csv(tables[2], dtype=str).equals(combine(tables, prefix="external-")[0])
    assert second.returncode == 2 and second.stderr.count("error: ") == 1
    assert "--out" in second.stderr and len(second.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--cohrt=a"], "cohrt"), (["a.csv"], '"a.csv" is not a flag'), ([], "--cohort is missing")],
)
def test_wrong_flags_are_one_sentence(flags, words):
    command = [sys.executable, "-m", "tvrl_jax.data.external", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith("error: "), done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
