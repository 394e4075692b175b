"""External validation: learn from the patients of one table, be tested on those of another.

    python -m tvrl_jax.data.external --cohort=A/cohort.csv --test=B/cohort.csv --out=C/cohort.csv

writes the training and validation rows of the first table and all rows of the second, whose split
becomes "test". A patient of the second is renamed --prefix + name: two hospitals may number alike.
Paths are rewritten to be relative to the new table; no image is copied. Columns that only one of
the tables has are left out, and named.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd
from absl import app, flags

from tvrl_jax.command import plain_flags
from tvrl_jax.data import table as tables
from tvrl_jax.data.cohort import named_splits, subjects
from tvrl_jax.data.split import SPLITS, seeded_split
from tvrl_jax.errors import UserError, nearest, shorten, verdict
from tvrl_jax.files import whole_file

WHO = {"cohort": "to learn from", "test": "to be tested on"}


def combine(
    cohort: str,
    test: str,
    out: str,
    *,
    subject: str,
    paths: Sequence[str],
    split: str,
    prefix: str,
    split_seed: int | None,
    split_fractions: Sequence[float],
) -> tuple[pd.DataFrame, list[str]]:
    """The new table, strings as they stand, and the columns that only one of the two has.

    Args:
      cohort, test: tables; their paths are relative to the folders that the tables lie in.
      out: where the new table will lie.
      subject, paths, split: names of columns. The second table needs no split, nor does the first
        with a seed.
      split_seed, split_fractions: data.split_seed and data.split_fractions by which the encoder's
        patients were split, who were named by no column; else None.

    Raises:
      UserError: a table that cannot be read, the same table twice, a column that is absent or has
        two meanings, a prefix that would not be read back, a patient without a name, a split that
        is none or told twice, no patient to learn from, or a patient of both.
    """
    cohort, test, out = map(os.path.expanduser, (cohort, test, out))
    _check_columns(subject, paths, split)
    _check_prefix(prefix)
    learnt, tested = _read_both(cohort, test)
    mapping = {"subject": subject, "split": split}
    for table, where in ((learnt, cohort), (tested, test)):
        tables.check_column(table, subject, where, "--subject")
        for name in paths:
            tables.check_column(table, name, where, "--path")
    if split_seed is not None:
        learnt = _drawn(learnt, cohort, mapping, split_fractions, split_seed)
    elif split not in learnt.columns:
        raise UserError(
            f'{cohort} has no column "{split}" (--split); where the encoder\'s patients were split '
            f"by a seed, give --split_seed, its data.split_seed.{nearest(split, learnt.columns)}"
        )
    split_R = named_splits(learnt, cohort, mapping, subjects(learnt, cohort, mapping))
    learnt = learnt[_kept(split_R, cohort, split)]
    named_R = prefix + subjects(tested, test, mapping)
    tested = _changed(tested, {split: "test", subject: named_R})
    both = set(learnt[subject]) & set(tested[subject])
    if both:
        raise UserError(
            f'{test}: patient "{min(both)}" is in {cohort}, too; if it is somebody else, give '
            "another --prefix."
        )
    shared = [name for name in learnt.columns if name in tested.columns]
    alone = [name for name in (*learnt.columns, *tested.columns) if name not in shared]
    parts = [_moved(learnt, paths, cohort, out), _moved(tested, paths, test, out)]
    return pd.concat([part[shared] for part in parts], ignore_index=True), alone


def _check_columns(subject: str, paths: Sequence[str], split: str) -> None:
    """UserError where a column is not named, or named for two things of which one would be lost."""
    if not paths or not all(paths):
        raise UserError(
            f"--path={','.join(paths)} leaves a column unnamed: name at least one column of files, "
            "with one comma between two."
        )
    for name, flag in ((subject, "--subject"), (split, "--split")):
        if not name:
            raise UserError(f"{flag}= names no column: leave it out, or name one.")
        if name in paths:
            raise UserError(
                f'--path: column "{name}" is that of {flag}; name columns of files alone.'
            )
    if subject == split:
        raise UserError(f'--subject and --split are both "{split}": name one column for each.')


def _check_prefix(prefix: str) -> None:
    """UserError for one that is lost when the table is read, or that text cannot hold."""
    if not prefix.strip():
        raise UserError(f'--prefix="{prefix}" is empty: name letters or digits, such as "b-".')
    if prefix != prefix.strip():
        raise UserError(
            f'--prefix="{prefix}" has blanks at an end, and names are read without them: '
            f'use "{prefix.strip()}".'
        )
    if not tables.is_text(prefix):
        raise UserError(f'--prefix="{prefix}" is not UTF-8 text: use letters and digits.')


def _read_both(cohort: str, test: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables. UserError, with the flag's name, where one is no file or both are the same."""
    _check_table("cohort", cohort)
    _check_table("test", test)
    if os.path.samefile(cohort, test):
        raise UserError(
            f"--test={test} is the file of --cohort: the same patients would be learned from and "
            "tested on; name a table of other patients."
        )
    return tables.read_table(".", cohort), tables.read_table(".", test)


def _check_table(flag: str, name: str) -> None:
    if tables.is_pattern(name):
        raise UserError(
            f"--{flag}={shorten(name)} is a pattern: this command needs a table file, with no * "
            "or ? in its name."
        )
    if not os.path.isfile(name):
        wrong = "is no file" if os.path.exists(name) else "does not exist"
        raise UserError(
            f"--{flag}={shorten(name)} {wrong}; name the table of the patients {WHO[flag]}."
        )


def _changed(table: pd.DataFrame, columns: Mapping[str, object]) -> pd.DataFrame:
    """A copy with these columns."""
    table = table.copy()  # `assign` takes names as keywords, and a column may be called "self"
    for name, cells in columns.items():
        table[name] = cells
    return table


def _drawn(table: pd.DataFrame, where: str, mapping: Mapping[str, str], fractions, seed: int):
    """The table with the column of splits that its patients had in pretraining."""
    if mapping["split"] in table.columns:
        raise UserError(
            f'{where} has a column "{mapping["split"]}", and --split_seed draws another split: '
            "leave one of them out (--split names the column)."
        )
    subject_R = subjects(table, where, mapping)
    try:
        drawn = seeded_split(subject_R, fractions, seed)
    except UserError as error:
        raise UserError(str(error).replace("data.split_fractions", "--split_fractions")) from error
    return _changed(table, {mapping["split"]: subject_R.map(drawn)})


def _kept(split_R: pd.Series, where: str, column: str) -> pd.Series:
    """Bool [rows]: training and validation."""
    for name in SPLITS[:2]:
        if not (split_R == name).any():
            raise UserError(
                f'{where}: no patient is of the split {name} ("{column}"); a probe needs patients '
                "to learn from and others to choose by."
            )
    return split_R != "test"


def _moved(table: pd.DataFrame, columns: Sequence[str], where: str, out: str) -> pd.DataFrame:
    """Paths relative to the folder of `out`; an absolute one stays, as does one below ~."""
    source, target = (os.path.abspath(os.path.dirname(name)) for name in (where, out))

    def moved(name: str) -> str:
        if name in tables.MISSING or os.path.isabs(os.path.expanduser(name)):
            return name
        path = os.path.relpath(os.path.join(source, name), target)
        if not tables.is_text(path):
            raise UserError(
                f'{where}: "{path}", its path from the new table, is not UTF-8 text; rename the '
                "folder, or write the new table into it."
            )
        return _as_path(path)

    return _changed(table, {column: table[column].map(moved) for column in columns})


def _as_path(path: str) -> str:
    """Written so that the reader does not strip it, expand it or take it to be missing."""
    if path in tables.MISSING or path.startswith("~") or path != path.lstrip():
        return os.path.join(os.curdir, path)
    return path


def write(table: pd.DataFrame, out: str) -> None:
    """Writes the table in one piece. UserError where there is a file already, or no room for it."""
    out = os.path.expanduser(out)
    _check_new(out)
    place, text = Path(out), _text(table, out)
    made = [folder for folder in place.parents if not os.path.lexists(folder)]  # deepest first
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        whole_file.write(place, text)
    except OSError as error:
        for folder in made:
            with suppress(OSError):  # not made yet, or used by somebody else by now
                folder.rmdir()
        raise UserError(f"--out={out}: cannot write there ({error.strerror}).") from error


def _check_new(out: str) -> None:
    """UserError where `out` cannot be the name of a new table."""
    last = os.path.basename(out)
    if last in ("", os.curdir, os.pardir) or os.path.isdir(out):
        raise UserError(f"--out={out} is a folder: name a new file in it, such as list.csv.")
    if tables.is_pattern(last):
        raise UserError(f"--out={out} would be read as a pattern: name a file without * or ?.")
    if os.path.exists(out):
        raise UserError(f"--out={out} exists: name a new file, or remove this one.")
    if os.path.lexists(out):  # false, not an error, for a name that is too long
        raise UserError(
            f"--out={out} is a link to what does not exist: name a new file, or remove the link."
        )


def _text(table: pd.DataFrame, out: str) -> str:
    """The table as the reader takes a file of this name."""
    cells = (cell for name in table.columns for cell in (name, *table[name]))
    # A carriage return alone is not quoted by itself, and the reader refuses it unquoted.
    bare = any("\r" in cell for cell in cells)
    quoting = csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL
    return table.to_csv(
        index=False, sep=tables.separator(out), quoting=quoting, lineterminator="\n"
    )


def _numbers(words: Sequence[str]) -> list[float]:
    try:
        return [tables.number(word) for word in words]
    except ValueError:
        raise UserError(
            f"--split_fractions={','.join(words)} is not three numbers, such as 0.7,0.15,0.15."
        ) from None


def main(_) -> None:
    f = flags.FLAGS
    columns = dict(subject=f.subject, paths=f.path, split=f.split)
    for name in ("cohort", "test", "out"):
        if not f[name].value:
            plain_flags.stop(f"--{name} is missing; see --help.")
    try:
        drawn = dict(split_seed=f.split_seed, split_fractions=_numbers(f.split_fractions))
        if f.split_seed is None and f["split_fractions"].present:
            raise UserError("--split_fractions draws nothing without --split_seed: give both.")
        made, alone = combine(f.cohort, f.test, f.out, **columns, **drawn, prefix=f.prefix)
        write(made, f.out)
    except (UserError, KeyboardInterrupt) as error:
        code, sentence = verdict(error)
        plain_flags.stop(sentence, code)
    if alone:
        print(f"left out, since only one of the tables has it: {', '.join(alone)}")
    for name in SPLITS:
        own = made[made[f.split].str.lower() == name]
        print(f"{name}: {own[f.subject].nunique()} patients, {len(own)} rows")


def _define() -> None:
    flags.DEFINE_string("cohort", "", "table of the patients to learn from")
    flags.DEFINE_string("test", "", "table of the patients to be tested on")
    flags.DEFINE_string("out", "", "the new table")
    flags.DEFINE_string("subject", "subject", "column of the patient")
    flags.DEFINE_list("path", ["path"], "columns of files, separated by commas")
    flags.DEFINE_string("split", "split", "column that says train, val or test")
    flags.DEFINE_integer("split_seed", None, "data.split_seed of an encoder without such a column")
    flags.DEFINE_list("split_fractions", ["0.7", "0.15", "0.15"], "its data.split_fractions")
    flags.DEFINE_string("prefix", "external-", "put before the names of the tested patients")


if __name__ == "__main__":
    _define()
    app.run(main, flags_parser=plain_flags.parse)
