"""Laws of results.csv, of what is concluded from it, and of the alarms that rest on it."""

import math
import re

import numpy as np
import pytest
from written import result_row

from tvrl_jax.errors import UserError
from tvrl_jax.report import alarms, compare, facts, html, naming, page, tables, verdict, wording
from tvrl_jax.results import ALL, PATIENTS_OF, PER_CLASS


def test_results_round_trip_exactly(tmp_path):
    rows = [
        result_row(value=1 / 3, seed=0),
        result_row(task='a,"b"\nc', value=np.float64(0.1), ci_low=math.nan),
    ]
    tables.write_results(tmp_path / "results.csv", rows)
    back = tables.read_results(tmp_path / "results.csv")
    assert back[0] == rows[0]
    assert back[1]["task"] == rows[1]["task"] and math.isnan(back[1]["ci_low"])
    header = (tmp_path / "results.csv").read_text().splitlines()[0]
    assert header == "method,cohort,task,probe,fraction,seed,metric,value,ci_low,ci_high,n"


def test_a_row_with_the_same_key_is_replaced_and_others_stay(tmp_path):
    path = tmp_path / "results.csv"
    tables.update(path, [result_row(value=0.1), result_row(task="AF", metric="auroc")])
    rows = tables.update(path, [result_row(value=0.9), result_row(probe="knn", value=0.3)])
    assert [(row["task"], row["probe"], row["value"]) for row in rows] == [
        ("LVEF", "linear", 0.9),
        ("AF", "linear", 0.5),
        ("LVEF", "knn", 0.3),
    ]
    assert tables.update(path, rows) == rows
    again = tables.update(path, [result_row(value=0.7)], instead_of="linear")
    assert [(row["task"], row["probe"], row["value"]) for row in again] == [
        ("LVEF", "knn", 0.3),
        ("LVEF", "linear", 0.7),
    ]


def test_a_wrong_results_file_is_named(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("method,cohort,task,probe,fraction,sed,metric,value,ci_low,ci_high,n\n")
    with pytest.raises(UserError, match='no column "seed".*"sed"'):
        tables.read_results(path)
    tables.write_results(path, [result_row()])
    path.write_text(path.read_text().replace("0.5,", "half,", 1))
    with pytest.raises(UserError, match='row 2: value = "half"'):
        tables.read_results(path)


def _best(rows, methods=("tvrl", "untrained")) -> list:
    return [
        [cell and cell.best for cell in line.cells] for line in compare.compare(rows, methods, 1.0)
    ]


def test_the_best_is_marked_only_when_intervals_part():
    apart = [result_row(value=0.8), result_row("untrained", value=0.5)]
    touching = [result_row(value=0.8), result_row("untrained", value=0.7)]
    assert _best(apart) == [[True, False]]
    assert _best(touching) == [[False, False]]


def test_a_paired_difference_decides_before_the_intervals():
    touching = [result_row(value=0.8), result_row("untrained", value=0.7)]
    surely = result_row("tvrl - untrained", value=0.1, half=0.05)
    perhaps = result_row("tvrl - untrained", value=0.1, half=0.2)
    assert _best([*touching, surely]) == [[True, False]]
    assert _best([*touching, perhaps]) == [[False, False]]
    apart = [result_row(value=0.9), result_row("untrained", value=0.5)]
    assert _best([*apart, perhaps]) == [[False, False]]


def test_one_column_is_not_said_to_be_no_better_than_others():
    for methods, told in ((("tvrl",), False), (("tvrl", "untrained"), True)):
        rows = [result_row(method, value=0.5) for method in methods]
        for shown in (methods, ("tvrl", "untrained")):  # a column may be there, and empty
            note = wording.note(compare.compare(rows, shown, 1.0))
            assert ("no column is better" in note) is told


def test_the_table_of_a_terminal_tells_the_unit_of_its_horizons():
    rows = [result_row(metric="auc_365")]
    assert 'The horizon of a metric, after "at", is a time in days.' in tables.comparison(
        rows, "days"
    )
    assert "horizon" not in tables.comparison([result_row()], "days")


def test_of_errors_the_smaller_is_better():
    rows = [result_row(metric="mae", value=5.0), result_row("untrained", metric="mae", value=9.0)]
    assert _best(rows) == [[True, False]]


def test_a_metric_at_a_horizon_is_judged_and_named_like_its_kind():
    assert naming.lower_is_better("brier_2.5") and not naming.lower_is_better("auc_3")
    names = [naming.metric_text(m) for m in ("brier_2.5", "auc_3", "c_index_ipcw", "r2", "odd_x")]
    assert names == ["Brier score at 2.5", "AUC at 3", "C-index (IPCW)", "R2", "odd_x"]
    for horizon in ("3", f"{365 * 24 * 3600.0:g}", f"{1e-5:g}"):  # a year in seconds has 8 digits
        metric = f"brier_{horizon}"
        assert naming.metric_text(metric) == f"Brier score at {horizon}"
        rows = [
            result_row(metric=metric, value=0.1, half=0.01),
            result_row("untrained", metric=metric),
        ]
        assert _best(rows) == [[True, False]]


def test_a_cell_is_of_one_probe_and_never_a_mean_over_several():
    rows = [result_row(probe="linear", value=0.2), result_row(probe="knn", value=0.8)]
    rows += [result_row("untrained", probe=p, value=v) for p, v in (("linear", 0.1), ("knn", 0.9))]
    rows += [result_row("tvrl", probe="finetune", value=0.6)]
    rows += [result_row("supervised", probe="supervised", value=0.3)]
    rows += [result_row("constant", probe="finetune", value=0.05)]
    methods = ("tvrl", "supervised", "untrained", "constant")

    def values(probe):
        (line,) = compare.compare(rows, methods, 1.0, probe=probe)
        return [cell and cell.value for cell in line.cells]

    assert values("knn") == [0.8, 0.3, 0.9, 0.05]
    assert values("finetune") == [0.6, 0.3, None, 0.05]
    assert values("supervised") == [None, 0.3, None, 0.05]
    assert compare.columns_of(rows, "finetune", 1.0) == ["tvrl", "supervised", "constant"]
    assert compare.columns_of(rows, "supervised", 1.0) == ["supervised", "constant"]
    text = tables.comparison(rows)
    assert text.count("untrained encoder") == 2 and "0.47" not in text
    assert verdict.main_comparison(rows) == [("tvrl", "linear", 1.0)]


def test_an_encoder_of_another_run_is_not_held_against_this_one_untrained():
    rows = [
        result_row(),
        result_row("cvrl (runs/y)"),
        result_row("untrained", value=0.1),
        result_row("tvrl - untrained"),
    ]
    rows += [result_row("tvrl - cvrl (runs/y)", value=0.0)]
    assert verdict.main_comparison(rows) == [("tvrl", "linear", 1.0)]


def test_each_probe_with_tasks_of_its_own_is_held_against_the_untrained_encoder(tmp_path):
    rows = [result_row(probe=p, fraction=f) for p in ("linear", "knn") for f in (0.1, 1.0)]
    rows += [result_row("untrained", value=0.1)]
    event = dict(task="event", metric="c_index", probe="cox")
    rows += [
        result_row(**event, value=0.5, half=0.02),
        result_row("untrained", **event, value=0.8, half=0.02),
    ]
    rows += [result_row(task="odd", probe="hazard")]
    asked = [("tvrl", "linear", 1.0), ("tvrl", "cox", 1.0), ("tvrl", "hazard", 1.0)]
    assert verdict.main_comparison(rows) == asked
    tables.write_results(tmp_path / "results.csv", rows)
    checks = html.all_checks(html.gather(tmp_path, tmp_path))
    raised = [check.alarm for check in checks if check.alarm]
    assert len(raised) == 1 and "better at event" in raised[0] and "cox probe" in raised[0]
    text = facts.checked(checks)
    for probe, answer in (("linear", "in 1 of 1"), ("cox", "in 0 of 1")):
        assert f"{answer} tasks, {probe} probe, 100 % of the labels" in text
    assert "against the untrained encoder (hazard probe, 100 % of the labels)" in text


def test_a_task_of_another_probe_makes_no_line():
    rows = [result_row(probe="linear"), result_row(probe="knn", task="AF", metric="auroc")]
    rows += [result_row("constant", probe="knn", task="AF", metric="auroc")]
    (line,) = compare.compare(rows, ("tvrl", "constant"), 1.0, probe="linear")
    assert line.task == "LVEF"
    assert compare.columns_of(rows, "linear", 1.0) == ["tvrl"]


def test_nothing_is_marked_where_a_class_has_too_few_patients():
    rows = [
        result_row(value=0.8, metric="auroc"),
        result_row("untrained", value=0.5, metric="auroc"),
    ]
    counts = result_row(metric=PER_CLASS, value=9.0)
    assert _best([*rows, counts | {"value": 10.0}]) == [[True, False]]
    assert _best([*rows, counts]) == [[False, False]]
    assert alarms.helped([*rows, counts], "tvrl", 1.0, "linear").finding == ""


def test_nothing_is_concluded_from_few_patients_whatever_the_task():
    for patients, told in ((1, False), (9, False), (10, True)):
        better = [result_row(value=0.8, n=patients), result_row("untrained", value=0.5, n=patients)]
        worse = [result_row(value=0.5, n=patients), result_row("untrained", value=0.8, n=patients)]
        surely = result_row("tvrl - untrained", value=0.3, half=0, n=patients)
        assert _best([*better, surely]) == [[told, False]]
        found = alarms.helped(worse, "tvrl", 1.0, "linear")
        assert bool(found.alarm) == bool(found.finding) == told
        assert not told or found.alarm.count("linear probe, 100 % of the labels") == 2
        assert ("too few test patients" in found.name) != told
        text = tables.comparison(better)
        assert ("LVEF !" in text) == (wording.SMALL_NOTE in text) == (not told)


def test_a_note_says_whether_the_draws_of_labels_are_in_the_intervals():
    def note(*seeds, **given):
        methods = ("tvrl", "untrained")
        rows = [result_row(method, seed=seed) for method in methods for seed in (*seeds, ALL)]
        return wording.note(compare.compare(rows, methods, 1.0), **given)

    assert "over patients and seeds]; mean of 2 seeds;" in note(0, 1)
    assert "over patients and seeds]; mean of 3 seeds;" in note(seeds=3)
    assert f"over patients]; {wording.ONE_SEED};" in note(0)
    assert "over patients]; no column" in note()


def test_nothing_is_concluded_at_a_horizon_that_few_patients_reach():
    for patients, told in ((1.0, False), (9.0, False), (10.0, True)):
        count = result_row(task="death", metric=f"{PATIENTS_OF}auc_6", value=patients)
        rows = [count]
        for metric in ("c_index", "auc_6"):
            rows += [result_row(task="death", metric=metric, value=0.8)]
            rows += [result_row("untrained", task="death", metric=metric, value=0.5)]
        assert _best(rows) == [[True, False], [told, False]]
        text = tables.comparison(rows)
        assert ("AUC at 6 !" in text) == (wording.SMALL_NOTE in text) == (not told)
        assert "death !" not in text and "C-index !" not in text and "patients_of" not in text


def test_what_was_not_checked_is_said_once():
    blind = alarms.Check("against the untrained encoder", "", "")
    seen = alarms.Check("collapse", "", "rank 9")
    assert facts.checked([blind, seen, blind, seen]) == (
        "Checked: collapse (rank 9). Not recorded, so not checked: against the untrained encoder."
    )


def test_a_column_must_beat_all_others_to_be_marked():
    rows = [
        result_row(value=0.8),
        result_row("untrained", value=0.4),
        result_row("cvrl", value=0.75),
    ]
    assert _best(rows, ("tvrl", "untrained", "cvrl")) == [[False, False, False]]


def test_an_average_precision_must_lead_that_of_the_constant_predictor_too():
    of = dict(metric="average_precision")
    rows = [
        result_row(value=0.3, half=0.05, **of),
        result_row("untrained", value=0.1, half=0.02, **of),
    ]
    methods = ("tvrl", "untrained", "constant")
    for constant, marked in ((0.28, False), (0.2, True)):
        least = result_row("constant", value=constant, half=0, **of)
        assert _best([*rows, least], methods) == [[marked, False, False]]


def test_without_a_row_for_all_seeds_a_cell_is_their_mean():
    rows = [result_row(value=0.4, seed=0), result_row(value=0.6, seed=1)]
    cell = compare.compare(rows, ("tvrl",), 1.0)[0].cells[0]
    assert (cell.value, cell.seeds) == (0.5, 2)
    cell = compare.compare([*rows, result_row(value=0.55)], ("tvrl",), 1.0)[0].cells[0]
    assert (cell.value, cell.seeds) == (0.55, 2)


def test_the_table_holds_the_numbers_of_the_csv(tmp_path):
    rows = [
        result_row(task=task, method=method, metric=metric, value=round(value, 2), half=0.25)
        for method in ("tvrl", "untrained", "constant")
        for task, metric, value in (
            ("LVEF", "r2", 0.51),
            ("LVEF", "mae", 1.25),
            ("AF", "auroc", 0.7),
        )
    ]
    rows.append(result_row("tvrl - untrained", task="LVEF", value=0.0))
    back = tables.update(tmp_path / "results.csv", rows)
    table = tables.comparison(back)
    for row in rows[:-1]:
        assert f"{row['value']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]" in table
    assert table.count("[") == len(rows)  # every cell, and the note; no difference
    assert "40 test patients" in table
    order = [table.index(name) for name in ("TVRL", "untrained encoder", "constant predictor")]
    assert order == sorted(order)


@pytest.mark.parametrize("style", ["text", "html"])
def test_a_task_with_few_test_patients_of_a_class_is_marked_in_the_table(style):
    rows = [result_row(task=task, metric="auroc") for task in ("AF", "CAD")]
    rows += [result_row(task="LVEF")]
    lone = dict(metric=PER_CLASS, ci_low=math.nan, ci_high=math.nan)
    counts = [result_row(task="AF", value=9.0) | lone, result_row(task="CAD", value=10.0) | lone]

    def table(rows):
        if style == "html":
            lines = compare.compare(rows, ("tvrl",), 1.0)
            return page.page([page.Section("", [verdict.table(lines, ("tvrl",))])], title="")
        return tables.comparison(rows)

    text = table(rows + counts)
    assert "AF !" in text and "CAD !" not in text and "LVEF !" not in text
    assert wording.SMALL_NOTE in text and "patients_per_class" not in text
    assert wording.SMALL_NOTE not in table(rows + counts[1:])


def test_the_spread_among_fits_has_a_table_of_its_own():
    rows = [result_row(), result_row(metric="r2_sd_draw", value=0.08, half=0.03)]
    assert verdict.spread(rows[:1]) == []
    (table,) = verdict.spread(
        [*rows, result_row(metric="r2_sd_optimisation", value=0.01, half=0.005)]
    )
    (line,) = table.rows
    assert line == [
        "TVRL",
        "LVEF",
        "linear, 100 %",
        "R2",
        "0.08 [0.05, 0.11]",
        "0.01 [0.005, 0.015]",
    ]
    assert [line.metric for line in compare.compare(rows, ("tvrl",), 1.0)] == ["r2"]
    assert verdict.spread(rows)[0].rows[0][-1] == "-"


def test_columns_of_the_text_table_are_aligned():
    rows = [
        result_row(value=0.5),
        result_row("untrained", value=-12.0),
        result_row(task="a long task"),
    ]
    lines = tables.comparison(rows).splitlines()[2:]
    starts = [match.start() for match in re.finditer("-+", lines[1])]
    assert all(line[start - 1] == " " for line in lines[:4] for start in starts[1:] if line[start:])


def _blank(top1: float) -> list[dict]:
    return [{"step": i, "blank_top1": top1, "blank_chance": 1 / 127} for i in range(5)]


@pytest.mark.parametrize(("top1", "raised"), [(0.0, False), (0.012, False), (0.1, True)])
def test_the_clock_alarm_needs_more_than_chance(top1, raised):
    assert bool(alarms.clock(_blank(top1)).alarm) == raised


def test_what_an_untrained_network_found_counts_only_where_nothing_else_is_known():
    untrained = {"step": 0, "blank_top1": 0.9, "blank_chance": 1 / 127}
    later = [dict(untrained, step=step, blank_top1=0.0) for step in (100, 200)]
    assert alarms.clock([untrained]).alarm and not alarms.clock([untrained, *later]).alarm


def test_collapse_unlearnt_and_nonfinite_losses_raise_alarms():
    good = [{"step": 0, "loss": 1.0, "loss_contrastive": 1.0, "effective_rank": 20.0}]
    bad = [{"step": 0, "loss": None, "loss_contrastive": math.log(127), "effective_rank": 1.2}]
    assert sum(bool(check.alarm) for check in alarms.check_run(good, 64)) == 0
    assert sum(bool(check.alarm) for check in alarms.check_run(bad, 64)) == 3


def test_pretraining_that_does_not_help_raises_an_alarm():
    def alarm(value):
        rows = [result_row(value=value), result_row("untrained", value=0.5)]
        return alarms.helped(rows, "tvrl", 1.0, "linear").alarm

    assert "not helped" in alarm(0.55) and "is better at LVEF" in alarm(0.1) and not alarm(0.9)


def _held_against_untrained(p_T, gap_T) -> list[dict]:
    """Rows of tasks with these differences of the main metric and their p, and a telling MAE."""
    rows = []
    for k, (p, gap) in enumerate(zip(p_T, gap_T, strict=True)):
        of = dict(task=f"task {k}")
        for metric, by in (("r2", gap), ("mae", 0.3)):
            rows += [result_row(metric=metric, value=0.5 + by, **of)]
            rows += [result_row("untrained", metric=metric, value=0.5, **of)]
            rows += [
                result_row("tvrl - untrained", metric=metric, value=by, half=abs(by) / 2, **of)
            ]
            rows += [result_row("tvrl - untrained", metric=f"{metric}_p", value=p, **of)]
    return rows


def test_the_alarms_against_the_untrained_encoder_are_corrected_for_the_number_of_tasks():
    def found(p_T, gap_T):
        return alarms.helped(_held_against_untrained(p_T, gap_T), "tvrl", 1.0, "linear")

    one = found([0.03, *[0.5] * 7], [-0.1] * 8)
    assert "is better at" not in one.alarm and "not helped" in one.alarm
    assert "in 0 of 8 tasks, linear probe" in one.finding
    assert "is better at task 0 (R2)" in found([0.004, *[0.5] * 7], [-0.1] * 8).alarm.replace(
        "R²", "R2"
    )
    assert found([0.004, *[0.5] * 7], [0.1] * 8).alarm == ""
    assert "not helped" in found([0.03, *[0.5] * 7], [0.1] * 8).alarm
    both = found([0.004, 0.004, *[0.5] * 6], [0.1, -0.1, *[0.1] * 6])
    assert "in 1 of 8" in both.finding and "task 1" in both.alarm and "not helped" not in both.alarm


def test_an_encoder_like_the_untrained_one_is_rarely_called_worse():
    rng, called = np.random.default_rng(0), 0
    for _ in range(300):
        p_T, gap_T = rng.random(8), rng.choice([-0.1, 0.1], 8)
        rows = _held_against_untrained(p_T, gap_T)
        called += "is better at" in alarms.helped(rows, "tvrl", 1.0, "linear").alarm
    assert called / 300 < 0.06  # by right 0.025; 0.18 without correction
