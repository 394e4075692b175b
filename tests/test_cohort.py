"""The table: what it may look like, and that each mistake in it is one sentence."""

import os
import re
from datetime import datetime, timedelta
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from configs import base, cohorts
from tvrl_jax.data import split, table, targets, times
from tvrl_jax.data.cohort import load_cohort
from tvrl_jax.data.sources import DAYS
from tvrl_jax.errors import UserError

ROWS = "subject,path,day,size,kind\n007,a.npy,3,1.5,x\n007,b.npy,-2,,y\n8,c.npy,1,2,x\n"


@pytest.fixture
def load(tmp_path):
    """load(table, key=value, ...) with columns_NOUN=... for the mapping."""
    for name in "abcd":
        (tmp_path / f"{name}.npy").touch()

    def run(text=ROWS, **changes):
        data = base.get_config().data
        data.root, data.csv = str(tmp_path), "table.csv"
        for key, value in changes.items():
            if key.startswith("columns_"):
                data.columns[key.removeprefix("columns_")] = value
            else:
                data[key] = value
        (tmp_path / "table.csv").write_text(text, encoding="utf-8")
        return load_cohort(**data)

    return run


def refused(load, *words, text=ROWS, **changes):
    with pytest.raises(UserError) as error:
        load(text, **changes)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_each_row_is_a_series_and_subjects_stay_text(load):
    cohort = load()
    assert [r.subject for r in cohort.records] == ["007", "007", "8"]
    assert [r.sources[0].row for r in cohort.records] == [2, 3, 4]
    assert cohort.table["subject"].tolist() == ["007", "007", "8"]


def test_dated_rows_are_joined_and_sorted_and_ties_keep_their_order(load):
    text = "subject,path,day\n1,a.npy,7\n1,b.npy,-2\n2,c.npy,0\n1,d.npy,7\n"
    first, second = load(text, columns_time="day", time_unit="days").records
    assert [s.time for s in first.sources] == [-2, 7, 7]
    assert [s.row for s in first.sources] == [3, 2, 5]
    assert len(second.sources) == 1


def test_an_empty_series_would_join_what_does_not_belong_together(load):
    text = "subject,path,day,eye\n1,a.npy,0,L\n1,b.npy,0,\n"
    words = ["row 3", 'column "eye"', "a cell of the series is empty"]
    refused(load, *words, text=text, columns_time="day", columns_series="eye")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("017", "17.0"), '"017" and "17.0" are two patients'),
        (("a1", "A1"), '"a1" and "A1" are two patients'),
        (("p 1", "p  1"), '"p 1" and "p  1" are two patients'),
        (("M\u00fcller", "Mu\u0308ller"), "are two patients"),  # one accent, written in two ways
        (("a1", "a1\u200b"), "are two patients"),  # a mark that no screen shows
        (("17", "18"), ""),
    ],
)
def test_what_is_allowed_and_hardly_meant_is_said(load, caplog, names, words):
    load("subject,path,split\n{},a.npy,val\n{},b.npy,test\n".format(*names))
    said = caplog.text.replace("table.csv:", "cohort")
    assert words in said and ("two patients" in said) == bool(words)
    assert 'its column "split" is not used' in said
    caplog.clear()
    load("subject,path,split\n1,a.npy,val\n2,b.npy,test\n", columns_split="split")
    load("split,path\n1,a.npy\n2,b.npy\n", columns_subject="P{split}")
    assert not caplog.records


def test_a_series_in_two_spellings_is_said(load, caplog):
    mapped = dict(columns_time="day", columns_series="eye")
    load("subject,path,day,eye\n1,a.npy,7,R\n1,b.npy,2,L\n2,c.npy,1,r\n", **mapped)
    assert not caplog.records
    load("subject,path,day,eye\n1,a.npy,7,R\n1,b.npy,2,r\n2,c.npy,1,r\n", **mapped)
    assert '"R" and "r" are two series of a patient here' in caplog.text


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("0,8", 'write "0.8", with a point'),
        ("-1234,5", 'write "-1234.5", with a point'),
        ("1,23", 'write "1.23", with a point'),
        ("0,800", 'write "0.800", with a point'),
        ("1,234", 'write "1234", or "1.234" where the comma is a decimal one'),
        ("-12,345", 'write "-12345", or "-12.345" where'),
        ("1,234,567", 'write "1234567", with no mark but a decimal point'),
        ("1,234.5", 'write "1234.5", with no mark but a decimal point'),
        ("1.234,5", 'write "1234.5", with no mark but a decimal point'),
        ("1.234.567,89", 'write "1234567.89", with no mark but a decimal point'),
        ("1.234.567", 'write "1234567", with no mark but a decimal point'),
        ("1,2,3", '"AF:classification"'),
        ("mild", '"AF:classification"'),
    ],
)
def test_text_where_a_number_is_wanted_is_told_what_would_be_right(load, cell, words):
    text = f'subject,path,AF\n1,a.npy,2\n2,b.npy,"{cell}"\n'
    refused(load, "row 3", "is not a number", words, text=text, targets=("AF:regression",))


def test_a_class_that_says_unknown_is_said(load, caplog):
    rows = "1,a.npy,yes\n2,b.npy,no\n3,c.npy,Unknown\n"
    load("subject,path,AF\n" + rows, targets=("AF:classification",))
    assert 'row 4, column "AF": "Unknown" is a class like any other; leave' in caplog.text


def test_series_column_separates_the_series_of_a_subject(load):
    text = "subject,path,day,eye\n1,a.npy,7,L\n1,b.npy,2,R\n1,c.npy,1,L\n"
    left, right = load(text, columns_time="day", columns_series="eye").records
    assert [s.row for s in left.sources] == [4, 2] and (left.name, right.name) == ("L", "R")


def test_units_of_the_columns_are_converted(load):
    text = "subject,path,when\n1,a.npy,0 500 1500\n2,b.npy,[0;250;600]\n"
    cohort = load(text, columns_times="when", column_unit="ms", time_unit="s")
    assert [r.sources[0].times for r in cohort.records] == [(0, 0.5, 1.5), (0, 0.25, 0.6)]
    years = times.convert([365.25, 0], "days", "years")
    np.testing.assert_allclose(years, [1, 0])
    text = "subject,path,month\n1,a.npy,-6\n1,b.npy,18\n"
    months = dict(columns_time="month", column_unit="months")
    ((first, second),) = [r.sources for r in load(text, **months, time_unit="years").records]
    np.testing.assert_allclose([first.time, second.time], [-0.5, 1.5])
    (record,) = load(text, **months, time_unit="days").records
    np.testing.assert_allclose(record.sources[1].time, 18 * 365.25 / 12)


def test_templates_make_paths_and_times(load):
    text = "subject,t0,t1\na,3,4\nb,5,6\n"
    cohort = load(text, columns_path="{subject}.npy", columns_times="{t0} {t1}")
    assert [r.sources[0].path[-5:] for r in cohort.records] == ["a.npy", "b.npy"]
    assert cohort.records[1].sources[0].times == (5, 6)
    refused(load, "no column", "subjekt", '"subject"?', columns_path="{subjekt}.npy")
    refused(load, "no template", columns_path="{subject.npy")
    for odd in ("{subject:.3}", "{subject!r}"):
        refused(load, "no template", 'write "{subject}"', columns_path=odd)


def test_an_empty_cell_of_a_template_is_not_the_folder_above(load, tmp_path):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.npy").touch()
    text = "subject,file,more\n1,a,.npy\n2,,\n"
    words = ("row 3", 'column "scans/{file}"', "the path is empty")
    refused(load, *words, text=text.replace("1,a,", "1,a.npy,"), columns_path="scans/{file}")
    for template in ("{file}/", "scans/{file}/"):
        refused(load, "row 3", "empty", text=text, columns_path=template, on_bad="skip")
    (record,) = load("subject,file,more\n1,a.npy,\n", columns_path="{file}{more}").records
    assert record.sources[0].path.endswith("a.npy")


def test_a_pattern_lists_files_without_a_table(load, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "e.npy").touch()
    cohort = load(csv="**/*.npy")
    assert [r.subject for r in cohort.records] == ["a", "b", "c", "d", "e"]
    cohort = load(csv="deep/*.npy", columns_subject="folder")
    assert cohort.records[0].subject == "deep"
    refused(load, "finds nothing", 'write "**/*.dcm" for folders below', csv="*.dcm")


def test_a_name_that_is_no_text_is_refused_before_a_report_has_to_hold_it(load, tmp_path):
    name = os.fsdecode(b"M\xfcller.npy")
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(UserError, match=r"M\\udcfcller.npy: this name, .* is not UTF-8"):
        load(csv="*.npy")
    with pytest.raises(UserError, match=r"K\\udcf6ln.* is not UTF-8 text: rename"):
        load(csv="*.npy", root=str(tmp_path / os.fsdecode(b"K\xf6ln")))


def test_a_pattern_may_begin_at_home(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.npy").touch()
    assert [r.subject for r in load(csv="~/own/*.npy").records] == ["a"]


def test_a_label_that_is_too_large_to_be_kept_is_named(load):
    text = "subject,path,x\na,a.npy,1e39\n"
    refused(load, "row 2", '"1e39" is more than 3.4e+38', text=text, targets=("x:regression",))


def test_files_of_a_pattern_are_patients_each_and_that_is_said(load, tmp_path, caplog):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "e.npy").touch()
    caplog.set_level("INFO")
    load(csv="*.npy")
    assert "each of its 4 files counts as a patient of its own" in caplog.text
    caplog.clear()
    load(csv="deep/*.npy", columns_subject="folder")
    load()
    assert not caplog.records


@pytest.mark.parametrize(
    ("names", "subjects"),
    [
        (("p1/cine.npy", "p2/cine.npy", "p3/other.npy"), ["p1/cine", "p2/cine", "p3/other"]),
        (("p1/0.jpg", "p1/0.png", "p2/1.PNG"), ["p1/0.jpg", "p1/0.png", "p2/1.PNG"]),
        (("p1/a.npy", "p2/b.npy"), ["a", "b"]),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_files_of_one_name_are_patients_each(load, tmp_path, caplog, names, subjects, absolute):
    for name in names:
        path = tmp_path / "some" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    caplog.set_level("INFO")
    pattern = f"{tmp_path}/some/*/*" if absolute else "some/*/*"
    below = [name if subjects == ["a", "b"] else f"some/{name}" for name in subjects]
    assert [r.subject for r in load(csv=pattern).records] == below
    assert f"each of its {len(names)} files counts" in caplog.text
    assert f'such as "{below[0]}"' in caplog.text


def test_only_the_ending_of_a_format_is_taken_off_a_file_s_name(load, tmp_path):
    uid = "1.2.840.113619.2"
    names = (f"{uid}.0.dcm", f"{uid}.1.DCM", f"{uid}.2", "p.1.nii.gz", "p.2.tiff")
    (tmp_path / "some").mkdir()
    for name in names:
        (tmp_path / "some" / name).touch()
    found = [r.subject for r in load(csv="some/*").records]
    assert found == [f"{uid}.0", f"{uid}.1", f"{uid}.2", "p.1", "p.2"]


def test_second_table_of_subjects_is_joined(load, tmp_path):
    (tmp_path / "patients.csv").write_text("subject,ef\n8,60\n007,40\n")
    cohort = load(subject_csv="patients.csv", targets=("ef:regression",))
    assert cohort.table["ef"].tolist() == ["40", "40", "60"]
    (tmp_path / "patients.csv").write_text("subject,ef\n8,60\n8,61\n007,40\n")
    refused(load, "row 3", "twice", subject_csv="patients.csv")
    (tmp_path / "patients.csv").write_text("subject,ef\n8,60\n")
    refused(load, '"007"', subject_csv="patients.csv")


def test_missing_and_broken_tables(load, tmp_path):
    refused(load, "absent.csv", "does not exist", csv="absent.csv")
    refused(load, 'Did you mean "table.csv"?', csv="tabel.csv")
    refused(load, "There is no folder", "elsewhere.", csv="elsewhere/table.csv")
    refused(load, "data.csv", csv="")
    refused(load, "is empty", text="")
    refused(load, "is empty", text="\n\n")
    refused(load, "no rows", text="subject,path\n")
    refused(load, "row 3", "2 cells", text="subject,path,x\n1,a.npy,2\n1,b.npy\n")
    refused(load, "two columns", text="subject,path,path\n1,a.npy,b.npy\n")
    refused(load, "commas", text="subject;path\n1;a.npy\n")
    (tmp_path / "latin.csv").write_bytes(b"subject,path\n\xe9,a.npy\n")
    refused(load, "UTF-8", csv="latin.csv")


@pytest.mark.parametrize("mark", [";", "\t", "|"])
@pytest.mark.parametrize(
    "lines",
    [
        ['"subject"', '"path"', '"ef"'],  # all quoted, as R and SPSS write
        ["subject", "path", '"a,b"'],
        ["subject", "path", "ef"],
        ["subject", '"path, of the file"', "ef"],
    ],
)
def test_a_table_of_another_separator_is_told_so(load, mark, lines):
    rows = [
        mark.join(lines),
        mark.join(['"1"', '"a.npy"', '"1,5"']),
        mark.join(["2", "b.npy", "1"]),
    ]
    refused(load, "table.csv is not separated by commas", ".tsv", text="\n".join(rows) + "\n")


def test_a_table_of_tabs_is_none_of_commas(load, tmp_path):
    (tmp_path / "t.tsv").write_text("subject,path\n1,a.npy\n")
    refused(load, "t.tsv is not separated by tabs", csv="t.tsv")
    (tmp_path / "t.tsv").write_text("a, b, c, or d\tsubject\tpath\n,\t1\ta.npy\n")
    load(csv="t.tsv")


def test_names_that_hold_another_mark_are_names(load):
    load('subject,path,"dose; mg; ml; x|y"\n1,a.npy,"2; 3"\n')
    load('"subject; no|all",path\n1,a.npy\n', columns_subject="subject; no|all")
    text = '"s;u;b",path\n1,a.npy\n2,b"c"d.npy\n3,"c"npy\n'
    refused(load, "row 4 cannot be read", "quotation mark", text=text, columns_subject="s;u;b")
    refused(load, "row 1 cannot be read", "quotation mark", text='"subject"x,path\n1,a.npy\n')


def test_bom_blank_lines_and_spaces_are_harmless(load):
    cohort = load("\ufeffsubject, path\n1,a.npy\n\n 2 , b.npy\n\n")
    assert [r.subject for r in cohort.records] == ["1", "2"]
    assert cohort.records[1].sources[0].row == 4


@pytest.mark.parametrize("noun", ["subject", "path", "time", "series", "slice", "split", "times"])
def test_a_column_that_does_not_exist_offers_the_nearest(load, noun):
    refused(load, "table.csv", 'no column "dayy"', '"day"?', **{f"columns_{noun}": "dayy"})


def test_times_must_be_numbers(load):
    for bad in ("soon", "nan", "inf", "", "3 4", "1_0"):
        text = f"subject,path,day\n1,a.npy,3\n1,b.npy,{bad}\n"
        refused(load, "row 3", '"day"', "number", text=text, columns_time="day")
    text = "subject,path,day\n1,a.npy,3 x\n"
    refused(load, "row 2", "numbers", text=text, columns_times="day")
    refused(load, "not both", columns_time="day", columns_times="day")
    refused(load, "no unit", time_unit="fortnights")
    refused(load, "frames", columns_time="day", column_unit="frames")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("0,00 0,04 0,08", 'write "0.00 0.04 0.08", with points'),
        ("[0,1;0,2;0,3]", 'write "0.1 0.2 0.3", with points'),
        ("0,00, 0,04, -1,5e3", 'write "0.00 0.04 -1.5e3", with points'),
        ("0 0,04 0,08", 'write "0 0.04 0.08", with points'),
        ("0,40, 80", "or the same mark between all of them"),
    ],
)
def test_decimal_commas_are_not_taken_for_more_times(load, cell, words):
    text = f'subject,path,t\n1,a.npy,"{cell}"\n'
    refused(load, "row 2", f'"{cell}" cannot be used', words, text=text, columns_times="t")


@pytest.mark.parametrize(
    "cell",
    ["0,40,80", "0, 40, 80", "[0, 40, 80]", "0;40;80", "0 40 80", "0.0,4e1 , 80", "(0,40,80)"],
)
def test_times_may_be_separated_by_any_mark(load, cell):
    cohort = load(f'subject,path,t\n1,a.npy,"{cell}"\n', columns_times="t")
    assert cohort.records[0].sources[0].times == (0, 40, 80)


def test_a_number_with_a_comma_is_told_its_point(load):
    for noun, cell, words in (
        ("time", "0,5", 'write "0.5", with a point'),
        ("time", "1,234", 'write "1234", or "1.234" where'),
        ("slice", "2,0", 'write "2.0", with a point'),
    ):
        text = f'subject,path,t\n1,a.npy,"{cell}"\n'
        refused(load, "row 2", "cannot be used", words, text=text, **{f"columns_{noun}": "t"})


@pytest.mark.parametrize("noun", ["time", "times"])
@pytest.mark.parametrize("unit", ["ms", "s", "days", "months", "years"])
def test_calendar_dates_are_not_taken_for_numbers(load, noun, unit):
    text = "subject,path,day\n1,a.npy,{}\n1,b.npy,{}\n"
    mapped = {f"columns_{noun}": "day", "column_unit": unit, "time_unit": "years"}
    words = ('"day"', "calendar date (YYYYMMDD)", "give days", "since the patient's first image")
    pairs = [("20200131", "20200201"), ("20200131.0", "20200201.0"), ("21800313", "18491231")]
    pairs += [("20190313093000", "20190314093000.5"), ("201903130930", "20190314")]
    for pair in pairs:
        refused(load, "row 2", f'"{pair[0]}" looks like', *words, text=text.format(*pair), **mapped)
    for pair in (("20201301", "20203001"), ("17991231", "30000101"), ("2020", "2021")):
        load(text.format(*pair), **mapped)  # no dates
    for other in ("", "7") if noun == "times" else ("7",):
        one = text.format("20200131", other)
        if unit in ("s", "ms"):  # 234 days, or 6 hours, since some moment
            load(one, **mapped)
        else:
            refused(load, "row 2", *words, text=one, **mapped)


@pytest.mark.parametrize(
    ("unit", "numbers", "fires"),
    [("days", 9, True), ("s", 1, True), ("s", 3, True), ("s", 4, False)],
)
def test_dates_among_which_some_are_numbers_are_dates_yet(load, unit, numbers, fires):
    days = [*map(str, range(numbers)), "20200131", "20200201", "20200301"]
    lines = [f"s,a.npy,{k},{day}" for k, day in enumerate(days)]
    text = "\n".join(["subject,path,k,day", *lines])
    mapped = dict(columns_time="day", columns_slice="k", column_unit=unit)
    if fires:
        refused(load, f"row {2 + numbers}", '"20200131" looks like', text=text, **mapped)
    else:
        load(text, **mapped)


@pytest.mark.parametrize(
    ("form", "dates"),
    [
        ("DDMMYYYY", ("31012020", "01022020")),
        ("DDMMYYYY", ("5022020", "31012020.0")),  # a zero is lost, and an empty cell gave dots
        ("MMDDYYYY", ("01312020", "02012180")),
        ("MMDDYYYY", ("1312020", "12312020")),
        ("YYYYMM", ("202001", "202012.0")),
    ],
)
def test_dates_whose_year_is_last_or_whose_day_is_missing_are_no_numbers(load, form, dates):
    text = "subject,path,t\n1,a.npy,0\n1,b.npy,{}\n1,c.npy,{}\n".format(*dates)
    mapped = dict(columns_time="t", time_unit="years")
    for unit in ("days", "months", "years"):
        words = f'row 3, column "t": "{dates[0]}" looks like a calendar date ({form})'
        refused(load, words, "give days", text=text, column_unit=unit, **mapped)
    load(text, column_unit="s", **mapped)  # 2 days, or a year: they may be what they say


@pytest.mark.parametrize(
    ("unit", "numbers"),
    [
        (
            "days",
            "-60000 0 43890 60000 737060.5 2458865 2458865.5 2399999",
        ),  # of Julius Caesar, too
        ("days", "31132020 00012020 32012020 31011799 31013000 202000 202013 101202"),
        ("months", "0 12.5 2000 24240"),
        ("years", "0 1950 2020.25"),
        ("s", "1580428800 31012020 86400 202001"),
    ],
)
def test_numbers_of_days_months_and_years_are_no_dates(load, unit, numbers):
    given = numbers.split()
    lines = [f"s,a.npy,{k},{number}" for k, number in enumerate(given)]
    text = "\n".join(["subject,path,k,t", *lines])
    mapped = dict(columns_slice="k", column_unit=unit, time_unit=unit)
    records = load(text, columns_time="t", **mapped).records
    assert [r.sources[0].time for r in records] == [float(number) for number in given]


DATED = "subject,path,eye,date\n1,a.npy,L,{}\n1,b.npy,L,{}\n1,c.npy,R,{}\n2,d.npy,L,{}\n"
DATES = ("2020-03-01", "2019-02-28", "2020-02-29", "2180-03-13")  # shifted years, too


def dated(load, *cells, **changes):
    """Row -> time of each row of DATED with these cells."""
    mapped = dict(columns_time="date", time_unit="days") | changes
    records = load(DATED.format(*cells), **mapped).records
    return {source.row: source.time for record in records for source in record.sources}


def test_iso_dates_are_days_since_the_first_of_their_series(load):
    assert dated(load, *DATES) == {2: 367, 3: 0, 4: 366, 5: 0}
    assert dated(load, *DATES, columns_series="eye") == {2: 367, 3: 0, 4: 0, 5: 0}
    assert dated(load, *DATES, column_unit="days", time_unit="years")[2] == 367 / 365.25
    assert dated(load, *DATES, time_unit="months")[2] == 367 / 30.4375
    first, _ = load(DATED.format(*DATES), columns_time="date", time_unit="days").records
    assert [source.row for source in first.sources] == [3, 4, 2] and first.newest == 2


def test_a_date_that_is_skipped_counts_all_the_same(load, tmp_path):
    (tmp_path / "b.npy").unlink()
    assert dated(load, *DATES, on_bad="skip") == {2: 367, 4: 366, 5: 0}


def test_the_time_of_day_of_a_date_is_kept(load):
    """Also where others of the column have none, which are their midnight."""
    clocks = ("2020-03-02T10:30", "2020-03-02", "2020-03-03 00:00:00", "2020-01-01T00:00:00.25")
    assert dated(load, *clocks) == {2: 0.4375, 3: 0, 4: 1, 5: 0}
    far = ("9999-12-31T23:59:59.999999", "0001-01-01", "0001-01-01T00:00:00.000001", "2020-01-01")
    found = dated(load, *far)
    assert found[4] == 1e-6 / 86400 and found[2] == 3652059 - 1e-6 / 86400


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(
    st.lists(st.datetimes(), min_size=1, max_size=5),
    st.sampled_from([" ", "T"]),
    st.sampled_from(["minutes", "seconds", "microseconds"]),
)
def test_any_moment_that_is_written_as_iso_says_is_read(moments, mark, spec):
    texts = [moment.isoformat(mark, spec) for moment in moments]
    assert all(map(times.is_date, texts))
    read = [datetime.fromisoformat(text) for text in texts]
    found = times.days_since_first(times.parse_date(text) for text in texts)
    assert found == [(moment - min(read)) / timedelta(days=1) for moment in read]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("45", '"45" is no date'),
        ("", '"" is no date'),
        ("NA", '"NA" is no date'),
        ("20200302", '"20200302" is no date'),
        ("02/03/2020", '"02/03/2020" is no date'),
        ("2020-3-2", '"2020-3-2" is no date'),
        ("2020-03-02T10:30+01:00", "is no date"),
        ("2020-03-02T25:00", "is no day or no time of day"),
        ("2019-02-29", '"2019-02-29" is no day'),
        ("0000-01-01", "is no day"),
    ],
)
def test_a_column_of_dates_holds_nothing_else(load, cell, words):
    text = DATED.format(DATES[0], DATES[1], cell, DATES[3])
    where = 'row 4, column "date": '
    refused(load, where, words, text=text, columns_time="date", time_unit="days")
    if "no date" in words:
        words = '"2020-03-01" (row 2) is one; write every cell as YYYY-MM-DD'
        refused(load, words, text=text, columns_time="date", time_unit="days")


@pytest.mark.parametrize("unit", ["s", "ms", "frames"])
def test_dates_have_a_unit_of_the_calendar(load, unit):
    words = ('row 2, column "date"', '"2020-03-01" is a date', "days, months or years")
    text, mapped = DATED.format(*DATES), dict(columns_time="date")
    refused(load, *words, f'data.time_unit is "{unit}"', text=text, time_unit=unit, **mapped)
    mapped |= dict(time_unit="days", column_unit=unit)
    refused(load, *words, f'data.column_unit is "{unit}"', text=text, **mapped)


def test_other_dates_are_told_what_is_right(load):
    for cell in ("31.01.2020", "03/07/2019", "31 Jan 2020"):
        words = ("row 2", f'"{cell}"', "YYYY-MM-DD", "pd.to_datetime(")
        text = f"subject,path,day\n1,a.npy,{cell}\n"
        refused(load, *words, text=text, columns_time="day", time_unit="days")
    text = "subject,path,day\n1,a.npy,2020-01-31 2020-02-02\n"
    refused(load, "row 2", "days since the first", text=text, columns_times="day")


def test_what_the_sentence_says_turns_dates_into_days():
    columns = {
        "YYYYMMDD": (["20200131", "20200202"], [20200131, 20200202], ["2180-01-31", "2180-02-02"]),
        "DDMMYYYY": (["31012020", "02022020"], [31012020, 2022020], ["31012020.0", "2022020.0"]),
        "MMDDYYYY": (["01312020", "02022020"], [1312020, 2022020]),
        "YYYYMM": (["202001", "202003"], [202001, 202003]),
    }
    for form in times.FORMS:
        for cells in (*columns[form.name], [f"{cell}.0" for cell in columns[form.name][1]]):
            t = pd.Series(cells)
            date = eval(f"pd.to_datetime({form.pandas})", {"pd": pd, "t": t})
            days = (date - date.min()).dt.days
            assert days.tolist() == [0, 60 if form.name == "YYYYMM" else 2]


def test_days_begin_at_midnight():
    t, recipe = pd.Series(["20200131230000", "20200202080000"]), DAYS.format(times.FORMS[0].pandas)
    code = recipe[recipe.index("(pd.") :]
    first = pd.Timestamp("2020-01-31")
    assert eval(code, {"pd": pd, "t": t, "first": first}).tolist() == [0, 2]
    date = eval(code.split(" - ")[0][1:], {"pd": pd, "t": t})
    assert (date - date.min()).dt.days.tolist() == [0, 2]


def test_the_recipe_for_dates_leaves_every_other_cell_as_it_is(load, tmp_path, monkeypatch):
    """Above all a class named None, and 007."""
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```python\n(table = .*?)```", page, re.DOTALL)
    text = (
        "patient,path,date,finding\n007,a.npy,31.01.2020,None\n007,b.npy,02.02.2020,NA\n"
        "8,c.npy,31.12.2019,\n8,d.npy,,null\n"
    )
    Path("dates.csv").write_text(text)
    exec(recipe, {"pd": pd})
    for other, iso in (("31.01.2020", "2020-01-31"), ("02.02.2020", "2020-02-02")):
        text = text.replace(other, iso)
    assert Path("list.csv").read_text() == text.replace("31.12.2019", "2019-12-31")


def test_slices_must_be_counts(load):
    for bad in ("-1", "1.5", "x", "nan", "1_0"):
        text = f"subject,path,k\n1,a.npy,{bad}\n"
        refused(load, "row 2", "slice", text=text, columns_slice="k")
    text = "subject,path,k\n1,a.npy,0\n1,a.npy,3.0\n"
    cohort = load(text, columns_slice="k")
    assert [r.sources[0].slice for r in cohort.records] == [0, 3]


def test_files_must_exist_once_and_belong_to_one_patient(load):
    refused(load, "row 3", '"path"', "z.npy", text="subject,path\n1,a.npy\n1,z.npy\n")
    refused(load, "row 3", "empty", text="subject,path\n1,a.npy\n1,\n")
    refused(load, "row 3", "patient", '"1"', '"2"', text="subject,path\n1,a.npy\n2,a.npy\n")
    refused(load, "row 3 repeats row 2", text="subject,path\n1,a.npy\n1,a.npy\n")
    refused(load, "none of its 1 files", text="subject,path\n1,z.npy\n", on_bad="skip")
    cohort = load("subject,path\n1,a.npy\n1,z.npy\n", on_bad="skip")
    assert len(cohort.records) == 1 and cohort.skipped[0].row == 3
    refused(load, "on_bad", on_bad="ignore")


def test_a_link_is_the_file_that_it_leads_to(load, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "e.npy").touch()
    os.symlink("p", tmp_path / "q")
    os.symlink("a.npy", tmp_path / "z.npy")
    pairs = [("a.npy", "z.npy"), ("z.npy", "a.npy"), ("p/e.npy", "q/e.npy"), ("p", "q")]
    for first, second in (*pairs, ("a.npy", f"/{tmp_path}/a.npy")):
        text = f"subject,path\n{{}},{first}\n{{}},{second}\n"
        refused(load, "row 3", '"2" here and to "1" in row 2', text=text.format(1, 2))
        refused(load, "row 3 repeats row 2", text=text.format(1, 1))
    refused(load, f"z.npy (the same as {tmp_path}/a.npy) belongs", csv="?.npy")
    cohort = load("subject,path,k\n1,a.npy,0\n1,z.npy,1\n1,q/e.npy,\n", columns_slice="k")
    paths = [os.path.relpath(r.sources[0].path, tmp_path) for r in cohort.records]
    assert paths == ["a.npy", "z.npy", "q/e.npy"]  # as the table says them


def test_a_folder_is_not_used_beside_what_lies_in_it(load, tmp_path):
    (tmp_path / "p" / "deep").mkdir(parents=True)
    (tmp_path / "p2").mkdir()
    for name in ("p/e.dcm", "p/deep/f.dcm", "p2/g.dcm"):
        (tmp_path / name).touch()
    os.symlink("p", tmp_path / "q")
    for rows in (("p", "p/e.dcm"), ("p", "p/deep/f.dcm"), ("p", "q/e.dcm"), ("q", "p/deep")):
        text = "subject,path\n1,{}\n1,p2\n2,{}\n"
        refused(load, "row 4", "the folder of row 2", text=text.format(*rows))
        refused(load, "row 2", "the folder of row 4", text=text.format(*rows[::-1]))
    load("subject,path\n1,p\n2,p2/g.dcm\n")
    refused(load, "lies in", 'as "**/*.dcm" does', csv="p/**/*")
    assert [r.subject for r in load(csv="p*/").records] == ["p", "p2"]
    assert len(load(csv="p*/**/*.dcm").records) == 3


def test_a_path_that_can_be_none_does_not_exist(load):
    for path in ("a\0b/c.npy", "x/" * 3000 + "c.npy"):
        refused(load, "row 3", "does not exist", text=f"subject,path\n1,a.npy\n1,{path}\n")


def test_subjects_must_be_given(load):
    for empty in ("", "  ", "nan", "NAN", "<NA>", "n/a", "NULL"):
        text = f"subject,path\n1,a.npy\n{empty},b.npy\n"
        for spec in ("subject", "P{subject}"):
            words = ("row 3", 'column "subject"', "subject is empty")
            refused(load, *words, text=text, columns_subject=spec)


def test_splits_are_checked(load):
    text = "subject,path,part\n1,a.npy,train\n1,b.npy,{}\n2,c.npy,VAL\n"
    refused(
        load, '"1"', "two splits", "row 2", "row 3", text=text.format("val"), columns_split="part"
    )
    refused(load, "row 3", '"valid"', '"val"?', text=text.format("valid"), columns_split="part")
    for name, meant in (("Validation", "val"), ("training", "train"), ("TESTING", "test")):
        words = f'"{name}" is no split; use train, val or test. Did you mean "{meant}"?'
        refused(load, "row 3", words, text=text.format(name), columns_split="part")
    cohort = load(text.format("Train"), columns_split="part")
    assert [r.split for r in cohort.records] == ["train", "train", "val"]
    for fractions in ((0.5, 0.5), (0.9, 0.2, -0.1), (0.5, 0.2, 0.2)):
        refused(load, "split_fractions", split_fractions=fractions)


def test_seeded_split_depends_on_names_and_seed_only():
    names = [f"p{k}" for k in range(40)]
    drawn = split.seeded_split(names, (0.7, 0.15, 0.15), 0)
    assert drawn == split.seeded_split(reversed(names * 2), (0.7, 0.15, 0.15), 0)
    assert drawn != split.seeded_split(names, (0.7, 0.15, 0.15), 1)
    assert [sum(v == s for v in drawn.values()) for s in split.SPLITS] == [28, 6, 6]
    # Written down, so that another machine or version is noticed.
    assert [k for k in names if drawn[k] == "test"] == ["p1", "p9", "p18", "p19", "p22", "p25"]


def test_counts_of_a_split_add_up():
    for total in range(30):
        counts = split.split_counts(total, (0.7, 0.15, 0.15))
        assert sum(counts) == total and min(counts) >= 0
    assert split.split_counts(1, (0.7, 0.15, 0.15)) == (1, 0, 0)
    assert split.split_counts(3, (0.5, 0.5, 0.0)) == (2, 1, 0)


def test_targets_are_checked(load):
    for bad in ("size", "size:", ":regression", "size:ranking"):
        refused(load, "data.targets", "regression", targets=(bad,))
    refused(load, '"sise"', '"size"?', targets=("sise:regression",))
    refused(load, "row 2", '"kind"', '"x"', targets=("kind:regression",))
    for bad in ("inf", "1_0"):
        text = f"subject,path,size\n1,a.npy,{bad}\n"
        refused(load, "row 2", f'"{bad}"', text=text, targets=("size:regression",))
    assert [t.kind for t in load(targets=("size:regression", "kind:classification")).targets] == [
        "regression",
        "classification",
    ]


@pytest.mark.parametrize(
    ("cells", "names", "codes"),
    [
        (["0", "1", "0.0", "1.", "", "NULL"], ("0", "1"), [0, 1, 0, 1, None, None]),
        (["10", "9.0", "-1", "0.50", "0.5"], ("-1", "0.5", "9", "10"), [3, 2, 0, 1, 1]),
        (["0", "0.0", "x", "n/a"], ("0", "0.0", "x"), [0, 1, 2, None]),
        (["1_0", "10", "NAN"], ("10", "1_0"), [1, 0, None]),
        ([f"{2**53 + 1}", f"{2**53}"], (f"{2**53}", f"{2**53 + 1}"), [1, 0]),  # equal as floats
    ],
)
def test_classes_that_are_numbers_are_told_apart_as_numbers(cells, names, codes):
    cell_R = pd.Series(cells, dtype=str)
    assert targets.class_names(cell_R) == names
    expected = np.array([np.nan if code is None else code for code in codes])
    np.testing.assert_array_equal(targets.class_codes(cell_R, names), expected)


@pytest.mark.parametrize(
    "cells", [("True", "true"), ("Yes", "yes"), ("left  eye", "Left eye"), ("Straße", "STRASSE")]
)
def test_a_class_in_two_spellings_is_refused(load, cells):
    text = "subject,path,kind\n1,a.npy,\n2,b.npy,{}\n3,c.npy,no\n3,d.npy,{}\n"
    said = [f'"{cells[0]}" (row 3)', f'"{cells[1]}" (row 5)', 'column "kind"', "two classes"]
    refused(load, *said, text=text.format(*cells), targets=("kind:classification",))
    load(text.format(*cells), targets=())  # what nobody asked for may be spelled as it likes


def test_classes_that_are_equal_as_numbers_are_no_spellings(load):
    text = "subject,path,kind\n1,a.npy,1e3\n2,b.npy,1E3\n3,c.npy,1000.0\n"
    cohort = load(text, targets=("kind:classification",))
    assert targets.class_names(cohort.table["kind"]) == ("1000",)


# As pandas.read_csv documents them, besides "" and None.
PANDAS = """#N/A; #N/A N/A; #NA; -1.#IND; -1.#QNAN; -NaN; -nan; 1.#IND; 1.#QNAN; <NA>; N/A; NA;
NULL; NaN; n/a; nan; null"""


def test_what_pandas_takes_for_missing_is_missing_but_none_is_a_word():
    assert set(PANDAS.replace("\n", " ").split("; ")) < table.MISSING
    cell_R = pd.Series([*table.MISSING, "None"], dtype=str)
    assert targets.class_names(cell_R) == ("None",)
    assert np.isnan(targets.numbers(cell_R[:-1], "table.csv")).all()


def test_outcomes_are_checked(load):
    def attempt(*words, line):
        text = f"subject,path,dead,after\n1,a.npy,{line}\n"
        refused(load, "row 2", *words, text=text, columns_event="dead", columns_duration="after")

    attempt("event is 2", line="2,5")
    attempt("negative", line="1,-5")
    attempt("fill in both", line="1,")
    for event in ("yes", "True"):
        attempt(f'"{event}" is not a number; write 1 (observed) or 0', line=f"{event},4")
    attempt('"after": "x" is not a number; leave', line="1,x")
    refused(load, "both", columns_event="day")
    text = "subject,path,dead,after\n1,a.npy,1,5\n2,b.npy,,\n"
    load(text, columns_event="dead", columns_duration="after")
    refused(load, "columns.duration is not: map both", text=text, columns_event="dead")
    refused(load, "columns.event is not: map both", text=text, columns_duration="after")


def test_series_times():
    clock = dict(time_unit="days", frame_interval=0.0)
    np.testing.assert_allclose(times.series_times(None, [0, 86400.0], 2, **clock), [0, 1])
    np.testing.assert_allclose(times.series_times([5, 5], [0, 1.0], 2, **clock), [5, 5])
    np.testing.assert_allclose(times.series_times(None, None, 1, **clock), [0])
    for given, file, words in (
        ([1], None, "1 times"),
        ([2, 1], None, "fall"),
        ([0, np.nan], None, "the time of frame 1 is not a number"),
        ([0, np.inf], None, "too large"),
        (None, None, "no times"),
    ):
        with pytest.raises(UserError, match=words):
            times.series_times(given, file, 2, **clock)
    stated = dict(time_unit="s", frame_interval=0.5)
    np.testing.assert_allclose(times.series_times(None, None, 3, **stated), [0, 0.5, 1])
    count = dict(time_unit="frames", frame_interval=0.0)
    np.testing.assert_allclose(times.series_times(None, [0, 0.3, 9], 3, **count), [0, 1, 2])


def test_presets_change_known_keys_only():
    for name in cohorts.PRESETS:
        config = cohorts.apply(base.get_config(), name)
        assert config.data.cohort == name and (config.data.csv or name == "own")
    with pytest.raises(UserError, match='"sunnybrook"'):
        cohorts.apply(base.get_config(), "sunybrook")
