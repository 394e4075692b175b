"""External validation: learn from the patients of one table, be tested on those of another.

    python -m tvrl_jax.data.external --cohort=A/cohort.csv --test=B/cohort.csv --out=C/cohort.csv

writes the training and validation rows of the first table and all rows of the second, whose split
becomes "test". A patient of the second is renamed --prefix + name: two hospitals may number alike.
Paths are rewritten to be relative to the new table; no image is copied. Columns that only one of
the tables has are left out, and named.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import pandas as pd
from absl import app, flags

from tvrl_jax import plain_flags, whole_file
from tvrl_jax.data import table as tables
from tvrl_jax.data.cohort import named_splits, subjects
from tvrl_jax.data.split import SPLITS
from tvrl_jax.errors import UserError, verdict


def combine(
    cohort: str, test: str, out: str, *, subject: str, paths: Sequence[str], split: str, prefix: str
) -> tuple[pd.DataFrame, list[str]]:
    """The new table, strings as they stand, and the columns that only one of the two has.

    Args:
      cohort, test: tables; their paths are relative to the folders that the tables lie in.
      out: where the new table will lie.
      subject, paths, split: names of columns. The second table needs no split.

    Raises:
      UserError: a table that cannot be read, a column that is absent, a patient without a name, a
        split that is none, no patient to learn from, or a patient of both.
    """
    learnt, tested = (tables.read_table(".", name) for name in (cohort, test))
    mapping = {"subject": subject, "split": split}
    for table, where in ((learnt, cohort), (tested, test)):
        tables.check_column(table, subject, where, "--subject")
        for name in paths:
            tables.check_column(table, name, where, "--path")
    tables.check_column(learnt, split, cohort, "--split")
    split_R = named_splits(learnt, cohort, mapping, subjects(learnt, cohort, mapping))
    learnt = learnt[_kept(split_R, cohort, split)]
    named_R = prefix + subjects(tested, test, mapping)
    tested = tested.assign(**{split: "test", subject: named_R})
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


def _kept(split_R: pd.Series, where: str, column: str) -> pd.Series:
    """Bool [rows]: training and validation."""
    for name in SPLITS[:2]:
        if not (split_R == name).any():
            raise UserError(
                f'{where}: no row of column "{column}" says {name}; a probe needs patients to '
                "learn from and others to choose by."
            )
    return split_R != "test"


def _moved(table: pd.DataFrame, columns: Sequence[str], where: str, out: str) -> pd.DataFrame:
    """Paths relative to the folder of `out`; an absolute one stays."""
    source, target = (os.path.abspath(os.path.dirname(name)) for name in (where, out))

    def moved(name: str) -> str:
        if name in tables.MISSING or os.path.isabs(name):
            return name
        return os.path.relpath(os.path.join(source, name), target)

    return table.assign(**{column: table[column].map(moved) for column in columns})


def write(table: pd.DataFrame, out: str) -> None:
    """Writes the table in one piece. UserError where there is a file already, or no room for it."""
    place = Path(out)
    if place.exists():
        raise UserError(f"--out={out} exists: name a new file, or remove this one.")
    text = table.to_csv(index=False)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        whole_file.write(place, text)
    except OSError as error:
        raise UserError(f"--out={out}: cannot write there ({error.strerror}).") from error


def main(_) -> None:
    f = flags.FLAGS
    columns = dict(subject=f.subject, paths=f.path, split=f.split)
    for name in ("cohort", "test", "out"):
        if not f[name].value:
            _stop(f"--{name} is missing; see --help.")
    try:
        made, alone = combine(f.cohort, f.test, f.out, **columns, prefix=f.prefix)
        write(made, f.out)
    except (UserError, KeyboardInterrupt) as error:
        code, sentence = verdict(error)
        _stop(sentence, code)
    if alone:
        print(f"left out, since only one of the tables has it: {', '.join(alone)}")
    for name in SPLITS:
        own = made[made[f.split].str.lower() == name]
        print(f"{name}: {own[f.subject].nunique()} patients, {len(own)} rows")


def _stop(sentence: str, code: int = 2) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(code)


def _define() -> None:
    flags.DEFINE_string("cohort", "", "table of the patients to learn from")
    flags.DEFINE_string("test", "", "table of the patients to be tested on")
    flags.DEFINE_string("out", "", "the new table")
    flags.DEFINE_string("subject", "subject", "column of the patient")
    flags.DEFINE_list("path", ["path"], "columns of files, separated by commas")
    flags.DEFINE_string("split", "split", "column that says train, val or test")
    flags.DEFINE_string("prefix", "external-", "put before the names of the tested patients")


if __name__ == "__main__":
    _define()
    app.run(main, flags_parser=partial(plain_flags.parse, stop=_stop))
