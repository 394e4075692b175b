"""Laws of the run's log, its tables and its report."""

import functools
import io
import itertools
import json
import math
import re

import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser
from PIL import Image

from tvrl_jax.errors import UserError
from tvrl_jax.report import (
    alarms,
    compare,
    curves,
    evidence,
    facts,
    html,
    naming,
    page,
    pictures,
    plots,
    tables,
    verdict,
    wording,
)
from tvrl_jax.report.metricslog import FILE, MetricsLog, read_metrics
from tvrl_jax.report.progress import Progress, duration
from tvrl_jax.report.style import COLOURS
from tvrl_jax.results import ALL, PATIENTS_OF, PER_CLASS

EVIL = '<script>alert("x")</script>'


# metrics.jsonl


def _metrics(step: int) -> dict:
    return {"loss": np.float32(1 / (step + 1)), "top1": math.nan if step == 3 else 0.1 * step}


def _log(folder, steps, resume_step: int = 0) -> None:
    with MetricsLog(folder, tensorboard=False, resume_step=resume_step) as log:
        for step in steps:
            log.write(step, _metrics(step))


def test_metrics_come_back_as_written_and_nan_as_null(tmp_path):
    _log(tmp_path, range(5))
    rows = read_metrics(tmp_path / FILE)
    assert [row["step"] for row in rows] == list(range(5))
    assert rows[4] == {"step": 4, "loss": float(np.float32(0.2)), "top1": 0.4}
    assert rows[3]["top1"] is None
    assert "NaN" not in (tmp_path / FILE).read_text()


def test_metrics_of_arrays_and_infinities_are_valid_json(tmp_path):
    with MetricsLog(tmp_path, tensorboard=False) as log:
        log.write(np.int64(0), {"a": np.array([1.0, np.inf]), "b": np.bool_(True), "c": "text"})
    assert read_metrics(tmp_path / FILE) == [{"step": 0, "a": [1.0, None], "b": True, "c": "text"}]


def test_every_row_is_on_disk_before_the_log_is_closed(tmp_path):
    log = MetricsLog(tmp_path, tensorboard=False)
    log.write(0, {"loss": 1.0})
    assert len(read_metrics(tmp_path / FILE)) == 1
    log.close()


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_a_torn_last_line_is_left_out(tmp_path, cut):
    _log(tmp_path, range(3))
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    # Without its line feed alone the row is still whole.
    assert [row["step"] for row in read_metrics(path)] == ([0, 1, 2] if cut == 1 else [0, 1])


def test_a_broken_line_before_the_last_is_named(tmp_path):
    (tmp_path / FILE).write_text('{"step": 0}\n{"ste\n{"step": 2}\n')
    with pytest.raises(UserError, match="line 2"):
        read_metrics(tmp_path / FILE)


def test_a_resumed_run_leaves_the_file_of_an_uninterrupted_one(tmp_path):
    _log(tmp_path / "straight", range(9))
    _log(tmp_path / "killed", range(6))
    with (tmp_path / "killed" / FILE).open("a") as file:
        file.write('{"step": 6, "lo')
    _log(tmp_path / "killed", range(4, 9), resume_step=4)
    straight, killed = ((tmp_path / name / FILE).read_bytes() for name in ("straight", "killed"))
    assert straight == killed
    assert not list((tmp_path / "killed").glob(".*.part"))


def test_tensorboard_gets_scalars(tmp_path):
    with MetricsLog(tmp_path, tensorboard=True) as log:
        log.write(7, {"some_scalar": 0.5, "missing": math.nan})
    events = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"some_scalar" in events and b"missing" not in events


# the line in the terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _progress(stream, steps: int, seconds: float, every: int) -> list[str]:
    clock = itertools.count(0.0, seconds / 2).__next__  # read about twice an update
    progress = Progress(steps, clips=8, stream=stream, clock=clock)
    for step in range(1, steps + 1):
        progress.update(step, {"loss": 1 / step} if step % every == 0 else None)
    progress.close()
    return stream.getvalue().splitlines()


def test_progress_tells_rate_and_remaining_time():
    now = [0.0]
    progress = Progress(100, clips=8, stream=io.StringIO(), clock=lambda: now[0])
    for step in range(1, 21):
        now[0] += 10.0 if step == 1 else 0.5  # the first step compiles: it is no measure
        progress.update(step, {"loss": 2.0, "unasked": 1.0})
    line = progress.line()
    for part in ("20/100", "20 %", "2 steps/s", "16 clips/s", "elapsed 0:20", "left 0:40"):
        assert part in line
    assert "loss 2" in line and "unasked" not in line


def test_progress_says_that_the_first_step_compiles_and_then_waits_for_a_rate():
    stream = io.StringIO()
    progress = Progress(10, clips=8, stream=stream, clock=itertools.count(0.0, 10.0).__next__)
    progress.begin()
    assert "0/10" in stream.getvalue() and "compiling" in stream.getvalue()
    progress.update(1)
    assert not {"compiling", "left", "steps/s"} & set(progress.line().split())
    progress.update(2)
    assert "left" in progress.line() and "compiling" not in progress.line()


def test_progress_does_not_flood_a_file_and_ends_with_the_last_step():
    lines = _progress(io.StringIO(), steps=1000, seconds=0.01, every=1)
    assert len(lines) < 30
    assert "1000/1000" in lines[-1]


def test_progress_is_heard_of_between_rare_log_lines():
    lines = _progress(io.StringIO(), steps=100, seconds=10.0, every=1000)
    assert len(lines) > 10


def test_progress_redraws_one_line_on_a_terminal():
    stream = Terminal()
    _progress(stream, steps=50, seconds=1.0, every=10)
    assert stream.getvalue().count("\n") == 1 and stream.getvalue().count("\r") > 10


def test_durations():
    assert [duration(s) for s in (0, 59.6, 3725)] == ["0:00", "1:00", "1:02:05"]


# results.csv


def _row(method="tvrl", task="LVEF", metric="r2", value=0.5, half=0.1, **other) -> dict:
    row = dict(method=method, cohort="phantom", task=task, probe="linear", fraction=1.0, seed="all")
    row |= dict(metric=metric, value=value, ci_low=value - half, ci_high=value + half, n=40)
    return row | other


def test_results_round_trip_exactly(tmp_path):
    rows = [
        _row(value=1 / 3, seed=0),
        _row(task='a,"b"\nc', value=np.float64(0.1), ci_low=math.nan),
    ]
    tables.write_results(tmp_path / "results.csv", rows)
    back = tables.read_results(tmp_path / "results.csv")
    assert back[0] == rows[0]
    assert back[1]["task"] == rows[1]["task"] and math.isnan(back[1]["ci_low"])
    header = (tmp_path / "results.csv").read_text().splitlines()[0]
    assert header == "method,cohort,task,probe,fraction,seed,metric,value,ci_low,ci_high,n"


def test_a_row_with_the_same_key_is_replaced_and_others_stay(tmp_path):
    path = tmp_path / "results.csv"
    tables.update(path, [_row(value=0.1), _row(task="AF", metric="auroc")])
    rows = tables.update(path, [_row(value=0.9), _row(probe="knn", value=0.3)])
    assert [(row["task"], row["probe"], row["value"]) for row in rows] == [
        ("LVEF", "linear", 0.9),
        ("AF", "linear", 0.5),
        ("LVEF", "knn", 0.3),
    ]
    assert tables.update(path, rows) == rows
    again = tables.update(path, [_row(value=0.7)], instead_of="linear")
    assert [(row["task"], row["probe"], row["value"]) for row in again] == [
        ("LVEF", "knn", 0.3),
        ("LVEF", "linear", 0.7),
    ]


def test_a_wrong_results_file_is_named(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("method,cohort,task,probe,fraction,sed,metric,value,ci_low,ci_high,n\n")
    with pytest.raises(UserError, match='no column "seed".*"sed"'):
        tables.read_results(path)
    tables.write_results(path, [_row()])
    path.write_text(path.read_text().replace("0.5,", "half,", 1))
    with pytest.raises(UserError, match='row 2: value = "half"'):
        tables.read_results(path)


# comparisons


def _best(rows, methods=("tvrl", "untrained")) -> list:
    return [
        [cell and cell.best for cell in line.cells] for line in compare.compare(rows, methods, 1.0)
    ]


def test_the_best_is_marked_only_when_intervals_part():
    apart = [_row(value=0.8), _row("untrained", value=0.5)]
    touching = [_row(value=0.8), _row("untrained", value=0.7)]
    assert _best(apart) == [[True, False]]
    assert _best(touching) == [[False, False]]


def test_a_paired_difference_decides_before_the_intervals():
    touching = [_row(value=0.8), _row("untrained", value=0.7)]
    surely = _row("tvrl - untrained", value=0.1, half=0.05)
    perhaps = _row("tvrl - untrained", value=0.1, half=0.2)
    assert _best([*touching, surely]) == [[True, False]]
    assert _best([*touching, perhaps]) == [[False, False]]
    apart = [_row(value=0.9), _row("untrained", value=0.5)]
    assert _best([*apart, perhaps]) == [[False, False]]


def test_of_errors_the_smaller_is_better():
    rows = [_row(metric="mae", value=5.0), _row("untrained", metric="mae", value=9.0)]
    assert _best(rows) == [[True, False]]


def test_a_metric_at_a_horizon_is_judged_and_named_like_its_kind():
    assert naming.lower_is_better("brier_2.5") and not naming.lower_is_better("auc_3")
    names = [naming.metric_text(m) for m in ("brier_2.5", "auc_3", "c_index_ipcw", "r2", "odd_x")]
    assert names == ["Brier score at 2.5", "AUC at 3", "C-index (IPCW)", "R2", "odd_x"]
    for horizon in ("3", f"{365 * 24 * 3600.0:g}", f"{1e-5:g}"):  # a year in seconds has 8 digits
        metric = f"brier_{horizon}"
        assert naming.metric_text(metric) == f"Brier score at {horizon}"
        rows = [_row(metric=metric, value=0.1, half=0.01), _row("untrained", metric=metric)]
        assert _best(rows) == [[True, False]]


def test_a_cell_is_of_one_probe_and_never_a_mean_over_several():
    rows = [_row(probe="linear", value=0.2), _row(probe="knn", value=0.8)]
    rows += [_row("untrained", probe=p, value=v) for p, v in (("linear", 0.1), ("knn", 0.9))]
    rows += [_row("tvrl", probe="finetune", value=0.6)]
    rows += [_row("supervised", probe="supervised", value=0.3)]
    rows += [_row("constant", probe="finetune", value=0.05)]
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
    rows = [_row(), _row("cvrl (runs/y)"), _row("untrained", value=0.1), _row("tvrl - untrained")]
    rows += [_row("tvrl - cvrl (runs/y)", value=0.0)]
    assert verdict.main_comparison(rows) == [("tvrl", "linear", 1.0)]


def test_each_probe_with_tasks_of_its_own_is_held_against_the_untrained_encoder(tmp_path):
    rows = [_row(probe=p, fraction=f) for p in ("linear", "knn") for f in (0.1, 1.0)]
    rows += [_row("untrained", value=0.1)]
    event = dict(task="event", metric="c_index", probe="cox")
    rows += [_row(**event, value=0.5, half=0.02), _row("untrained", **event, value=0.8, half=0.02)]
    rows += [_row(task="odd", probe="hazard")]
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
    rows = [_row(probe="linear"), _row(probe="knn", task="AF", metric="auroc")]
    rows += [_row("constant", probe="knn", task="AF", metric="auroc")]
    (line,) = compare.compare(rows, ("tvrl", "constant"), 1.0, probe="linear")
    assert line.task == "LVEF"
    assert compare.columns_of(rows, "linear", 1.0) == ["tvrl"]


def test_nothing_is_marked_where_a_class_has_too_few_patients():
    rows = [_row(value=0.8, metric="auroc"), _row("untrained", value=0.5, metric="auroc")]
    counts = _row(metric=PER_CLASS, value=9.0)
    assert _best([*rows, counts | {"value": 10.0}]) == [[True, False]]
    assert _best([*rows, counts]) == [[False, False]]
    assert alarms.helped([*rows, counts], "tvrl", 1.0, "linear").finding == ""


def test_nothing_is_concluded_from_few_patients_whatever_the_task():
    for patients, told in ((1, False), (9, False), (10, True)):
        better = [_row(value=0.8, n=patients), _row("untrained", value=0.5, n=patients)]
        worse = [_row(value=0.5, n=patients), _row("untrained", value=0.8, n=patients)]
        surely = _row("tvrl - untrained", value=0.3, half=0, n=patients)
        assert _best([*better, surely]) == [[told, False]]
        found = alarms.helped(worse, "tvrl", 1.0, "linear")
        assert bool(found.alarm) == bool(found.finding) == told
        assert not told or found.alarm.count("linear probe, 100 % of the labels") == 2
        assert ("too few test patients" in found.name) != told
        text = tables.comparison(better)
        assert ("LVEF !" in text) == (wording.SMALL_NOTE in text) == (not told)


def test_a_note_says_whether_the_draws_of_labels_are_in_the_intervals():
    def note(*seeds, **given):
        rows = [_row(seed=seed) for seed in (*seeds, ALL)]
        return wording.note(compare.compare(rows, ("tvrl",), 1.0), **given)

    assert "over patients and seeds]; mean of 2 seeds;" in note(0, 1)
    assert "over patients and seeds]; mean of 3 seeds;" in note(seeds=3)
    assert f"over patients]; {wording.ONE_SEED};" in note(0)
    assert "over patients]; no column" in note()


def test_nothing_is_concluded_at_a_horizon_that_few_patients_reach():
    for patients, told in ((1.0, False), (9.0, False), (10.0, True)):
        count = _row(task="death", metric=f"{PATIENTS_OF}auc_6", value=patients)
        rows = [count]
        for metric in ("c_index", "auc_6"):
            rows += [_row(task="death", metric=metric, value=0.8)]
            rows += [_row("untrained", task="death", metric=metric, value=0.5)]
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
    rows = [_row(value=0.8), _row("untrained", value=0.4), _row("cvrl", value=0.75)]
    assert _best(rows, ("tvrl", "untrained", "cvrl")) == [[False, False, False]]


def test_an_average_precision_must_lead_that_of_the_constant_predictor_too():
    of = dict(metric="average_precision")
    rows = [_row(value=0.3, half=0.05, **of), _row("untrained", value=0.1, half=0.02, **of)]
    methods = ("tvrl", "untrained", "constant")
    for constant, marked in ((0.28, False), (0.2, True)):
        least = _row("constant", value=constant, half=0, **of)
        assert _best([*rows, least], methods) == [[marked, False, False]]


def test_without_a_row_for_all_seeds_a_cell_is_their_mean():
    rows = [_row(value=0.4, seed=0), _row(value=0.6, seed=1)]
    cell = compare.compare(rows, ("tvrl",), 1.0)[0].cells[0]
    assert (cell.value, cell.seeds) == (0.5, 2)
    cell = compare.compare([*rows, _row(value=0.55)], ("tvrl",), 1.0)[0].cells[0]
    assert (cell.value, cell.seeds) == (0.55, 2)


def test_the_table_holds_the_numbers_of_the_csv(tmp_path):
    rows = [
        _row(task=task, method=method, metric=metric, value=round(value, 2), half=0.25)
        for method in ("tvrl", "untrained", "constant")
        for task, metric, value in (
            ("LVEF", "r2", 0.51),
            ("LVEF", "mae", 1.25),
            ("AF", "auroc", 0.7),
        )
    ]
    rows.append(_row("tvrl - untrained", task="LVEF", value=0.0))
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
    rows = [_row(task=task, metric="auroc") for task in ("AF", "CAD")]
    rows += [_row(task="LVEF")]
    lone = dict(metric=PER_CLASS, ci_low=math.nan, ci_high=math.nan)
    counts = [_row(task="AF", value=9.0) | lone, _row(task="CAD", value=10.0) | lone]

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
    rows = [_row(), _row(metric="r2_sd_draw", value=0.08, half=0.03)]
    assert verdict.spread(rows[:1]) == []
    (table,) = verdict.spread([*rows, _row(metric="r2_sd_optimisation", value=0.01, half=0.005)])
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
    rows = [_row(value=0.5), _row("untrained", value=-12.0), _row(task="a long task")]
    lines = tables.comparison(rows).splitlines()[2:]
    starts = [match.start() for match in re.finditer("-+", lines[1])]
    assert all(line[start - 1] == " " for line in lines[:4] for start in starts[1:] if line[start:])


# alarms


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
        rows = [_row(value=value), _row("untrained", value=0.5)]
        return alarms.helped(rows, "tvrl", 1.0, "linear").alarm

    assert "not helped" in alarm(0.55) and "is better at LVEF" in alarm(0.1) and not alarm(0.9)


def _held_against_untrained(p_T, gap_T) -> list[dict]:
    """Rows of tasks with these differences of the main metric and their p, and a telling MAE."""
    rows = []
    for k, (p, gap) in enumerate(zip(p_T, gap_T, strict=True)):
        of = dict(task=f"task {k}")
        for metric, by in (("r2", gap), ("mae", 0.3)):
            rows += [_row(metric=metric, value=0.5 + by, **of)]
            rows += [_row("untrained", metric=metric, value=0.5, **of)]
            rows += [_row("tvrl - untrained", metric=metric, value=by, half=abs(by) / 2, **of)]
            rows += [_row("tvrl - untrained", metric=f"{metric}_p", value=p, **of)]
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


# figures


def test_the_roc_curve_encloses_the_rank_statistic():
    rng = np.random.default_rng(0)
    positive, score = rng.random(60) < 0.4, rng.integers(0, 8, 60).astype(float)
    false, true = plots.roc_curve(positive, score)
    pairs = score[positive][:, None] - score[~positive]
    assert np.trapezoid(true, false) == pytest.approx(np.mean(np.sign(pairs) / 2 + 0.5))
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)


def test_the_roc_figure_of_a_sure_head_has_its_curve(monkeypatch):
    """Of probabilities that are all exactly 1 in float64; what the other class has tells."""
    curves_drawn, curve = [], plots.roc_curve
    monkeypatch.setattr(
        plots, "roc_curve", lambda *of: curves_drawn.append(curve(*of)) or curves_drawn[-1]
    )
    rest = np.exp(-np.arange(40.0, 48.0))
    true = (np.arange(8) > 3).astype(float)
    assert plots.roc(true, np.stack([rest, 1 - rest], 1), "AF")
    assert np.trapezoid(*curves_drawn[0][::-1]) == 1


@pytest.mark.parametrize("name", [r"$\foo$", "cost [$] - price [$]"])
def test_dollars_in_a_name_are_drawn_and_no_formula(name, monkeypatch):
    drawn = []
    monkeypatch.setattr(MathTextParser, "parse", lambda *args, **_: drawn.append(args))
    true = np.array([0.0, 1.0, 0.0, 1.0])
    assert plots.predicted_against_true(true, true, name, note=name)
    assert plots.roc(true, true, name, classes=("no", name), note=name)
    assert plots.embedding_map(np.eye(4), true, name, classes=("no", name))
    assert not drawn


def test_a_method_looks_the_same_in_every_figure_of_a_page():
    rows = [_row(name, value=0.5) for name in ("tvrl", "supervised", "untrained")]
    lines = compare.compare(rows, ("untrained",), 1.0)
    draw = functools.partial(plots.forest, lines, ("untrained",), title="", no_skill=0.0)
    alone, amid = (_pixels(draw(everyone=e)) for e in ((), ("tvrl", "supervised", "untrained")))
    seen = [{tuple(p) for p in image[..., :3].reshape(-1, 3)} for image in (alone, amid)]
    third = tuple(int(COLOURS[2][i : i + 2], 16) for i in (1, 3, 5))
    assert third in seen[1] and third not in seen[0]


def test_principal_axes_find_the_plane_that_holds_everything():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(50, 2))
    feature = np.concatenate([plane @ rng.normal(size=(2, 5)), np.ones((50, 1))], axis=1)
    position, share = plots.principal_axes(feature)
    assert share.sum() == pytest.approx(1.0) and share[0] >= share[1]
    assert np.abs(np.corrcoef(position.T)[0, 1]) < 1e-9


def test_the_running_mean_of_a_constant_is_that_constant():
    np.testing.assert_allclose(curves.running_mean(np.full(100, 3.0)), 3.0)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_the_sheet_shows_first_and_last_frames_of_every_clip():
    clip = np.zeros((3, 2, 8, 10, 10, 1), np.uint8)
    clip[2, 1, 7] = 255
    seen = _pixels(pictures.sheet(clip, columns=2))
    assert seen.shape[-1] == 4 and (seen[..., :3] == 255).all(-1).any()
    assert _pixels(pictures.sheet(clip[:, :1], columns=2)).shape[0] < seen.shape[0]


def test_a_cine_with_its_curve_is_a_picture():
    time = np.linspace(0, 1, 6)
    frame = np.random.default_rng(0).random((6, 12, 12))
    png = pictures.cine_with_curve(frame, time, 100 + time, frames=3, mask_THW=frame > 0.5)
    assert _pixels(png).shape[1] > 1000


# report.html


def test_everything_in_a_page_is_escaped():
    dot = pictures.sheet(np.zeros((1, 1, 1, 2, 2, 1), np.uint8))
    parts = [
        page.Text(EVIL),
        page.Bullets([EVIL]),
        page.Facts([(EVIL, EVIL)]),
        page.Table([EVIL], [[EVIL], [page.Strong(EVIL)]], note=EVIL),
        page.Gallery([page.Picture(dot, f'" onerror="{EVIL}', EVIL)]),
        page.Alarm([EVIL]),
        page.Fold(EVIL, [page.Text(EVIL)]),
    ]
    text = page.page([page.Section(EVIL, parts)], title=EVIL)
    assert "<script" not in text and text.count("&lt;script&gt;") == 16
    assert '" onerror' not in text


def _write_run(folder, task: str) -> list[dict]:
    folder.mkdir()
    config = {"method": "tvrl", "seed": 3, "train": {"steps": 9, "batch_size": 64}}
    (folder / "config.json").write_text(json.dumps(config))
    _log(folder, range(9))
    rows = [_row(method, task=task, value=v) for method, v in (("tvrl", 0.8), ("untrained", 0.3))]
    rows += [_row("tvrl", task="AF", metric="auroc", value=0.71)]
    tables.write_results(folder / "results.csv", rows)
    label = np.arange(12.0)
    label[3] = np.nan
    prob = np.linspace(0, 1, 12)
    arrays = {f"label/{task}": label, f"prediction/tvrl/{task}": label[:, None] + 1}
    arrays |= {"label/AF": label % 2, "classes/AF": np.array(["no", "yes"])}
    arrays |= {"prediction/tvrl/AF": np.stack([1 - prob, prob], 1)}
    arrays |= {"feature/tvrl": np.random.default_rng(0).normal(size=(12, 4))}
    np.savez(folder / "predictions_linear.npz", **arrays)
    np.savez(folder / "samples.npz", augmented=np.zeros((2, 2, 8, 8, 8, 1), np.uint8))
    return rows


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    rows = _write_run(folder, EVIL)
    alarms.save(folder, "linear", [alarms.Check("leak", f"Mind {EVIL}", "")])
    extras = html.Extras(base={"seed": 0})
    return html.write(html.gather(folder, folder), extras).read_text(), rows


def test_the_report_needs_nothing_from_anywhere(report):
    text, _ = report
    assert "http" not in text.replace("http-equiv", "")
    assert not re.search(r"<(script|link|iframe|object|embed)\b|@import|url\(", text)
    assert set(re.findall(r'src="(.{22})', text)) == {"data:image/png;base64,"}
    assert len(re.findall("<img", text)) >= 6


def test_the_report_holds_the_numbers_alarms_and_settings(report):
    text, rows = report
    for row in rows:
        assert f"{row['value']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]" in text
    assert "Mind &lt;script&gt;" in text and 'class="alarm"' in text
    assert "Missing when" not in text and "40" in text
    assert "<td>seed</td><td>3</td><td>0</td>" in text


def test_what_is_missing_is_said_and_nothing_fails(tmp_path):
    text = html.write(html.gather(tmp_path, tmp_path), html.Extras()).read_text()
    for name in ("config.json", FILE, "results.csv", "predictions_PROBE.npz", "samples.npz"):
        assert name in text
    assert "Missing when" in text and "<img" not in text


def test_every_probe_of_a_folder_is_drawn_with_its_own_scores(tmp_path):
    rows = [_row(value=0.81, probe="linear"), _row(value=0.22, probe="knn")]
    tables.write_results(tmp_path / "results.csv", rows)
    arrays = {"label/LVEF": np.arange(5.0), "prediction/tvrl/LVEF": np.ones((5, 1))}
    for kind in ("knn", "linear"):
        np.savez(tmp_path / f"predictions_{kind}.npz", **arrays)
    kept = html.gather(tmp_path, tmp_path).predictions
    assert evidence.probes_of(kept, rows) == ["linear", "knn"]  # the table's order
    first, _, fold = evidence.predictions(kept, rows).parts
    assert "R2 0.81" in first.pictures[0].alt
    assert fold.summary == "The same, knn probe" and "R2 0.22" in fold.parts[0].pictures[0].alt


def test_a_label_of_several_numbers_has_no_scatter_plot():
    arrays = {"label/death": np.ones((5, 2)), "prediction/tvrl/death": np.ones((5, 1))}
    assert evidence.tasks_of({**arrays, "label/LVEF": np.ones(5)}) == ["LVEF"]


def test_a_probe_of_times_to_an_event_leaves_no_empty_pictures():
    cox = {"label/death": np.ones((5, 2)), "prediction/tvrl/death": np.ones((5, 1))}
    linear = {"label/LVEF": np.arange(5.0), "prediction/tvrl/LVEF": np.ones((5, 1))}
    feature = {"feature/tvrl": np.random.default_rng(0).normal(size=(5, 3))}
    kept = {"cox": cox | feature, "linear": linear | feature}
    assert evidence.probes_of(kept, [_row(probe="cox"), _row()]) == ["linear"]
    gallery = evidence.embedding(kept.values()).parts[0]
    assert [picture.alt.endswith("by LVEF") for picture in gallery.pictures] == [True]
    assert "no map" in evidence.embedding([cox | feature]).parts[0].text


def test_padding_in_the_sheet_of_clips_is_explained():
    clips = np.ones((2, 2, 4, 8, 8, 1), np.uint8)
    assert "padding" not in evidence.augmented(clips).parts[0].caption
    clips[0, 1, 3] = 0
    assert "A black frame is padding." in evidence.augmented(clips).parts[0].caption


def test_a_probe_folder_gets_its_own_report(tmp_path):
    run, probe = tmp_path / "run", tmp_path / "probe"
    _log(run, range(3))
    tables.write_results(probe / "results.csv", [_row()])
    path = html.write(html.gather(run, probe), html.Extras())
    assert path == probe / "report.html" and "0.50 [0.40, 0.60]" in path.read_text()
    assert "Training curves" in path.read_text()


def test_the_report_of_an_earlier_checkpoint_names_it_and_judges_by_its_steps(tmp_path):
    run, probe = tmp_path / "run", tmp_path / "probe"
    with MetricsLog(run, tensorboard=False) as log:
        for step, loss in enumerate((1.0, 1.0, math.nan)):
            log.write(step, {"loss": loss, "effective_rank": 8.0 if step < 2 else 1.0})
    probe.mkdir()
    for step, alarm in ((2, False), (3, True)):
        (probe / "probe_knn.json").write_text(json.dumps({"kind": "knn", "step": step}))
        text = html.write(html.gather(run, probe), html.Extras()).read_text()
        later = "; the run has gone on to step 3, which" if step < 3 else "</dd>"
        assert f"<dt>probed checkpoint</dt><dd>step {step}{later}" in text
        assert ("The loss was not finite at step 2." in text) is alarm
    (run / "probe_knn.json").write_text(json.dumps({"kind": "knn", "step": 2}))
    text = html.write(html.gather(run, run), html.Extras()).read_text()  # a page of the whole run
    assert "not finite at step 2." in text and "<dd>step 2; the run" in text
    (run / "probe_knn.json").unlink()
    assert "probed checkpoint" not in html.write(html.gather(run, run), html.Extras()).read_text()


def test_what_an_earlier_probe_noted_stays_in_the_report_of_its_folder(tmp_path):
    facts.save(tmp_path, "linear", ["va: 18 of 150 series have no value.", "said twice"])
    facts.save(tmp_path, "cox", ["said twice", EVIL])
    text = html.write(html.gather(tmp_path, tmp_path), html.Extras()).read_text()
    assert "va: 18 of 150 series" in text and text.count("said twice") == 1
    assert "&lt;script&gt;" in text
    facts.save(tmp_path, "linear", [])
    assert facts.load(tmp_path) == ["said twice", EVIL]
    (tmp_path / "notes_cox.json").write_text("[1]")
    with pytest.raises(UserError, match="notes_cox.json is damaged"):
        html.gather(tmp_path, tmp_path)


def test_what_is_not_defined_does_not_count_among_the_test_patients(tmp_path):
    rows = [_row(), _row(task="cosine", value=math.nan) | {"n": 0}]
    tables.write_results(tmp_path / "results.csv", rows)
    text = html.write(html.gather(tmp_path, tmp_path), html.Extras()).read_text()
    assert f"with a value of the target: {rows[0]['n']} here." in text


def test_the_report_tells_the_unit_of_its_horizons(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"data": {"time_unit": "days"}}))
    for metric, told in (("c_index_ipcw", False), ("brier_365", True)):
        tables.write_results(tmp_path / "results.csv", [_row(metric=metric)])
        text = html.write(html.gather(tmp_path, tmp_path), html.Extras()).read_text()
        assert ("is a time in days." in text) is told


def test_a_page_is_named_by_the_cohort_that_was_probed_too(tmp_path):
    material = html.gather(tmp_path / "run", tmp_path / "probe")
    material = material._replace(config={"method": "tvrl", "data": {"cohort": "home"}})
    for rows, title in (
        ([], "tvrl on home"),
        ([_row(cohort="home")], "tvrl on home"),
        ([_row(cohort="abroad")], "tvrl on home, probed on abroad"),
    ):
        assert html._title(material._replace(results=rows)) == title


def test_a_table_that_does_not_count_its_patients_is_no_table_of_few():
    row = dict(method="a", cohort="x", task="t", probe="linear", fraction=1.0, seed="all")
    many = row | dict(metric="r2", value=0.5, ci_low=0.4, ci_high=0.6, n=100)
    assert compare.small([many, many | {"n": 0}]) == set()
    assert compare.small([many, many | {"n": 9}]) == {"t"}
    lines = compare.compare([many, many | {"probe": "cox", "n": 5}], ("a",), 1.0, probe="linear")
    assert not lines[0].few
