"""A table of two cohorts: learned from one, tested on the other, and no image is moved."""

import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT

from configs import base
from tvrl_jax.data import external
from tvrl_jax.data.cohort import load_cohort
from tvrl_jax.data.table import find_file, read_table
from tvrl_jax.errors import UserError

COLUMNS = dict(subject="subject", paths=("path",), split="split")
NAMED = dict(split_seed=None, split_fractions=(0.7, 0.15, 0.15))  # by the column alone
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
    return external.combine(*tables, **COLUMNS | NAMED | changes, prefix=prefix)


@pytest.mark.parametrize("seed", [0, 3])
def test_a_split_by_seed_is_that_of_pretraining(tables, tmp_path, seed):
    rows = [f"{k},{name}.npy,{k}" for k, name in enumerate(("a", "b", "c", "x", "sub/y"))]
    home = tmp_path / "home" / "list.csv"
    home.write_text("\n".join(["subject,path,ef", *rows, ""]))
    data = base.get_config().data
    data.root, data.csv = str(home.parent), home.name
    data.split_fractions, data.split_seed = (0.4, 0.2, 0.4), seed
    there = {r.subject: r.split for r in load_cohort(**data).records}
    made, _ = combine(tables, split_seed=seed, split_fractions=data.split_fractions)
    learnt = made[~made.subject.str.startswith("ext-")]
    assert dict(zip(learnt.subject, learnt.split, strict=True)) == {
        name: split for name, split in there.items() if split != "test"
    }
    assert set(made.split[learnt.index[-1] + 1 :]) == {"test"} and "ef" in made.columns


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
        (HOME.replace("\n1,", "\next-1,"), ABROAD, {}, ['patient "ext-1"', "--prefix"]),
        (HOME, ABROAD, {"prefix": ""}, ["--prefix", "empty"]),
        (HOME, ABROAD, {"prefix": "  "}, ["--prefix", "empty"]),
        (HOME, ABROAD, {"prefix": "b "}, ["--prefix", "blanks", '"b"']),
        (HOME, ABROAD, {"prefix": "b\udcff"}, ["--prefix", "UTF-8"]),
        (HOME, ABROAD, {"paths": ()}, ["--path", "at least one column of files"]),
        (HOME, ABROAD, {"paths": ("path", "")}, ["--path", "at least one column of files"]),
        (HOME, ABROAD, {"paths": ("path", "subject")}, ["--path", '"subject"', "--subject"]),
        (HOME, ABROAD, {"paths": ("split",)}, ["--path", '"split"', "--split"]),
        (HOME, ABROAD, {"subject": "split"}, ["--subject", "--split"]),
        (HOME, ABROAD, {"split": ""}, ["--split", "names no column"]),
        (HOME.replace("train", "dev"), ABROAD, {}, ["row 2", '"dev"']),
        (HOME.replace("val", "train"), ABROAD, {}, ["of the split val"]),
        (HOME, ABROAD, {"split_seed": 0}, ['has a column "split"', "--split_seed"]),
        (HOME, ABROAD, {"split_seed": 0, "split": "part", "split_fractions": (1, 0, 0)}, ["val"]),
        (
            HOME,
            ABROAD,
            {"split_seed": 0, "split": "part", "split_fractions": (1, 1)},
            ["--split_fr"],
        ),
        (HOME, ABROAD, {"subject": "patient"}, ["--subject", "patient"]),
        (HOME, ABROAD, {"paths": ("path", "mask")}, ["--path", "mask"]),
        (HOME, ABROAD, {"split": "part"}, ["--split", "part", "--split_seed"]),
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


@pytest.mark.parametrize(
    ("place", "name", "words"),
    [
        (1, "abroad/*.csv", ["--test=", "pattern", "table file"]),
        (0, "home/?.npy", ["--cohort=", "pattern", "table file"]),
        (0, "home/lost.csv", ["--cohort=", "does not exist", "learn from"]),
        (1, "abroad/lost.csv", ["--test=", "does not exist", "tested on"]),
        (1, "abroad", ["--test=", "is no file", "tested on"]),
        (1, "home/sub/../list.csv", ["--test=", "the same patients"]),
    ],
)
def test_a_wrong_table_is_named_by_its_flag(tables, tmp_path, place, name, words):
    changed = list(tables)
    changed[place] = str(tmp_path / name)
    with pytest.raises(UserError) as error:
        combine(changed)
    for word in words:
        assert word in str(error.value), error.value
    assert "data.csv" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("new/" + "n" * 300 + ".csv", "too long"),
        ("n" * 253, "too long"),  # the unfinished file's name is longer
        ("new/", "is a folder"),
        ("home", "is a folder"),
        ("dangling.csv", "is a link"),
        ("new/*.csv", "pattern"),
        ("home/list.csv/list.csv", "cannot write"),
    ],
)
def test_a_wrong_place_is_one_sentence_and_nothing_is_written(tables, tmp_path, name, words):
    (tmp_path / "dangling.csv").symlink_to(tmp_path / "nowhere")
    made, _ = combine(tables)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="--out=.*" + words):
        external.write(made, f"{tmp_path}/{name}")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_not_text_is_refused(tables, tmp_path):
    folder = f"{tmp_path}/a\udcff"
    (tmp_path / "abroad").rename(folder)
    with pytest.raises(UserError, match="not UTF-8"):
        combine((tables[0], f"{folder}/list.csv", tables[2]))


def test_paths_from_home_stay_and_flags_may_name_it(tables, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    text = "subject,path\n1,~/home/a.npy\n2,x.npy\n3,./~/z.npy\n4,~nobody-here/z.npy\n"
    (tmp_path / "abroad" / "list.csv").write_text(text)
    made, _ = combine(("~/home/list.csv", "~/abroad/list.csv", "~/abroad/both.csv"))
    external.write(made, "~/abroad/both.csv")
    read = read_table(str(tmp_path / "abroad"), "both.csv").path
    found = [find_file(str(tmp_path / "abroad"), name) for name in read[2:]]
    names = ("home/a.npy", "abroad/x.npy", "abroad/./~/z.npy", "abroad/./~nobody-here/z.npy")
    assert found == [str(tmp_path) + "/" + name for name in names]


@pytest.mark.parametrize("name", ["both.csv", "both.tsv", "both.TAB"])
@pytest.mark.parametrize("note", ["a\rb", "a,b", "a\tb", 'a"b', "a\nb", "a\r\nb"])
def test_the_reader_takes_back_every_cell(tables, tmp_path, name, note):
    made, _ = combine(tables)
    made["no\rte"] = [note, "", "n", "n", "n"]
    made["note"] = [note, "", "n", "n", "n"]
    for number, table in enumerate((made, made.drop(columns="no\rte"))):
        external.write(table, str(tmp_path / f"{number}" / name))
        read = read_table(str(tmp_path / f"{number}"), name)
        assert list(read.columns) == list(table.columns)
        assert read.to_numpy().tolist() == table.to_numpy().tolist()


@pytest.mark.parametrize("old", ["path", "subject", "split"])
def test_a_column_may_be_called_self(tables, tmp_path, old):
    for folder, text in (("home", HOME), ("abroad", ABROAD)):
        (tmp_path / folder / "list.csv").write_text(text.replace(old, "self", 1))
    key, value = ("paths", ("self",)) if old == "path" else (old, "self")
    made, _ = combine(tables, **{key: value})
    assert "self" in made.columns and len(made) == 5


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
    [
        (["--cohrt=a"], "cohrt"),
        (["a.csv"], '"a.csv" is not a flag'),
        ([], "--cohort is missing"),
        (["--cohort=a", "--test=b", "--out=c", "--split_fractions=x"], "three numbers"),
        (["--cohort=a", "--test=b", "--out=c", "--split_fractions=1,0,0"], "--split_seed"),
    ],
)
def test_wrong_flags_are_one_sentence(flags, words):
    command = [sys.executable, "-m", "tvrl_jax.data.external", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith("error: "), done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpshort", "--helpfull"])
@pytest.mark.parametrize("module", ["external", "phantom"])
def test_help_is_no_failure(module, flag):
    command = [sys.executable, "-m", f"tvrl_jax.data.{module}", flag]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0 and "--out: " in done.stdout and not done.stderr, done.stderr
