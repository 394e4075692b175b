"""Scores, differences and verdicts of a comparison are what their notes say."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from comparisons import finish, small_plan
from matplotlib.figure import Figure
from scipy.stats import t as student

from configs import compare as presets
from tvrl_jax.comparison import (
    claims,
    collect,
    comparer,
    faults,
    figures,
    machine,
    markdown,
    page,
    record,
    summary,
)
from tvrl_jax.comparison.plan import TRAIN, Cell, Plan
from tvrl_jax.comparison.record import Record
from tvrl_jax.probing import cache, intervals, paired, predictions, stats
from tvrl_jax.probing.problem import Prediction
from tvrl_jax.probing.sampling import Draw
from tvrl_jax.probing.tasks import Task
from tvrl_jax.report import alarms, facts, style, tables
from tvrl_jax.report.alarms import Check
from tvrl_jax.results import ALL, COLUMNS


def test_what_a_probe_warns_of_stands_above_the_table(known, tmp_path):
    config = presets.get_config("phantom_cardiac")
    config.methods, config.shared.data.cohort = ("tvrl",), "clinic"
    planned = small_plan(config, tmp_path, known)
    leak = Check("leak", "The images of 4 test patients trained the encoder too.", "4 of 6")
    for cell in planned.cells:
        finish(cell)
    (planned.cells[0].folder / "metrics.jsonl").touch()
    alarms.save(planned.cells[1].folder, "linear", [leak, Check("nothing found", "", "none")])
    results = summary.gather([])
    said = f"tvrl seed 0 linear: {leak.alarm}"
    told = [("command", "python")], faults.find(planned, results)
    text = markdown.text(planned, results, *told)
    page.write(tmp_path / "report.html", planned, results, *told)
    for made in (text, (tmp_path / "report.html").read_text()):
        assert said in made and "Methods on clinic" in made and "nothing found" not in made
    (planned.cells[1].folder / "checks_linear.json").write_text("[{}]")
    (damaged,) = faults.raised(planned, results)
    assert damaged.startswith("tvrl seed 0 linear: ") and "is damaged" in damaged
    record.write(planned.cells[1], Record(planned.cells[1].arguments, 1, "no", 1.0, 0.0))
    assert faults.raised(planned, results) == []
    config.probe.data.cohort = "abroad"
    assert small_plan(config, tmp_path, known).cohort == "abroad"


def test_what_the_probes_left_out_stands_below_the_table(known, tmp_path):
    """Each sentence once, with the cells that said it where others did not."""
    config = presets.get_config("phantom_cardiac")
    config.methods, config.seeds, config.probes = ("tvrl", "cvrl"), (0,), ("linear", "knn")
    planned = small_plan(config, tmp_path, known)
    for cell in planned.cells:
        finish(cell)
        if cell.kind == TRAIN:
            (cell.folder / "metrics.jsonl").touch()
            continue
        lines = ["ef: 4 of 79 series have no value and are left out."]
        lines += ["ef: of this kind."] * (cell.kind == "knn")
        lines += ["ef: of this cell."] * (cell.kind == "knn" and cell.method == "cvrl")
        facts.save(cell.folder, cell.kind, lines)
    results = summary.gather([])
    found = faults.find(planned, results)
    assert list(found.notes) == [
        "ef: 4 of 79 series have no value and are left out.",
        "knn probe: ef: of this kind.",
        "cvrl seed 0 knn: ef: of this cell.",
    ]
    text = markdown.text(planned, results, [], found)
    page.write(tmp_path / "report.html", planned, results, [], found)
    for made in (text, (tmp_path / "report.html").read_text()):
        assert all(made.count(note) == 1 for note in found.notes)
        assert "resamples are their own (the comparison draws 5000)" in made
    assert "## Notes" in text and "## Notes" not in markdown.text(
        planned, results, [], found._replace(notes=())
    )
    last = planned.cells[-1]
    (last.folder / "notes_knn.json").write_text("[1]")
    again = faults.find(planned, results)
    assert [line for line in again.alarms if last.name in line and "notes_knn.json" in line]
    record.write(last, Record(last.arguments, 1, "no", 1.0, 0.0))
    assert list(faults.find(planned, results).notes)[1] == "knn probe: ef: of this kind."


@pytest.mark.parametrize("what", ["missing", "damaged"])
def test_a_log_that_is_lost_costs_its_own_numbers_alone(what, known, tmp_path):
    planned, _ = measured((0,), tmp_path, known)
    cvrl, ltn, _ = (cell for cell in planned.cells if cell.kind == TRAIN)
    log = cvrl.folder / "metrics.jsonl"
    log.unlink() if what == "missing" else log.write_text("{\n" + log.read_text())
    said = [line for line in comparer.write(planned, "command").alarms if cvrl.name in line]
    assert len(said) == 1 and said[0].startswith(f"{cvrl.name}: {log}")
    speed = {tuple(row[:3]): row[4] for row in summary.cost(planned).rows}
    assert [speed[c.method, "0", TRAIN] for c in (cvrl, ltn)] == ["-", "2"]
    assert "Training curves" in (tmp_path / "report.html").read_text()
    assert said[0] in (tmp_path / "table.md").read_text()


PATIENTS = 24


TASKS = (
    Task("ef", "regression", (), np.float32([50, 60, 55, 40, 70, 65, 45, 58] * 3)),
    Task("cad", "classification", ("no", "yes"), np.float32([0, 1, 0, 1, 1, 0, 0, 1] * 3)),
    Task("af", "classification", ("no", "yes"), np.float32([0, 1, 0, 0, 1, 0, 0, 1] * 3)),  # few
)


def leave_predictions(cell: Cell, rng: np.random.Generator) -> None:
    """What a finished probe with two seeds would leave, and its record."""
    arrays = {"probe": "linear", "method": cell.method, "cohort": "x"}
    arrays = {name: np.array(text) for name, text in arrays.items()}
    arrays["series"] = arrays["patient"] = np.array([f"p{i}" for i in range(PATIENTS)])
    arrays |= predictions.of_tasks(TASKS, np.arange(PATIENTS))
    for method in (cell.method, *cell.baselines):
        made = [_prediction(task, seed, rng) for task in TASKS for seed in (0, 1)]
        arrays |= predictions.of_method(method, made)
    cache.write(predictions.place(cell.folder, "linear"), arrays)
    record.write(cell, Record(cell.arguments, 0, "", 1.0, time.time()))


def _prediction(task: Task, seed: int, rng: np.random.Generator) -> Prediction:
    value_N = task.value_N + rng.normal(0, 5 if not task.classes else 0.7, PATIENTS)
    output_NK = value_N[:, None] if not task.classes else np.stack([1 - value_N, value_N], 1)
    return Prediction(Draw(task, 1.0, seed, np.zeros(0, bool)), output_NK.astype(np.float32), {})


@pytest.fixture(scope="module")
def collected(known, tmp_path_factory):
    return measured((0, 1), tmp_path_factory.mktemp("collected"), known)


@pytest.fixture(scope="module")
def thrice(known, tmp_path_factory):
    return measured((0, 1, 2), tmp_path_factory.mktemp("thrice"), known)


def measured(seeds: tuple[int, ...], folder: Path, known) -> tuple[Plan, list[dict]]:
    """A finished comparison of three methods, and its rows."""
    config = presets.get_config("phantom_cardiac")
    config.methods, config.seeds = ("cvrl", "ltn", "tvrl"), seeds
    config.bootstrap.samples = 300
    planned = small_plan(config, folder, known)
    rng = np.random.default_rng(0)
    for cell in planned.cells:
        cell.folder.mkdir(parents=True)
        if cell.kind == TRAIN:
            record.write(cell, Record(cell.arguments, 0, "", 60.0, 0.0))
            log = [json.dumps({"step": s, "loss": 1.0, "steps_per_second": 2.0}) for s in range(3)]
            (cell.folder / "metrics.jsonl").write_text("\n".join(log) + "\n")
        else:
            leave_predictions(cell, rng)
    return planned, collect.result_rows(planned, collect.columns(planned))


def cells_of(planned: Plan, method: str) -> list[Cell]:
    return [c for c in planned.cells if c.method == method and c.kind == "linear"]


def test_a_score_is_the_mean_over_pretraining_seeds_and_its_spread_is_shown(collected):
    planned, made = collected
    wanted = [
        next(
            s.interval.value
            for s in paired.scores(paired.load(c.folder, "linear"), samples=9, seed=0)
            if (s.task.column, s.metric, s.seed) == ("ef", "r2", ALL)
        )
        for c in cells_of(planned, "tvrl")
    ]
    row = summary.gather(made).find("tvrl", "ef", summary.Setting("linear", 1.0), "r2")
    assert row["value"] == pytest.approx(np.mean(wanted))
    assert row["spread"] == pytest.approx(np.std(wanted, ddof=1)) and row["spread"] > 0
    assert row["ci_low"] < row["value"] < row["ci_high"] and row["n"] == PATIENTS
    single = [r for r in made if r["method"] == "tvrl" and r["pretraining_seed"] == 1]
    assert {r["seed"] for r in single} == {0, 1, ALL}
    assert not {r["method"] for r in made if r["pretraining_seed"] == 1} & {"constant"}


def test_differences_are_those_of_the_means_on_the_same_patients(collected):
    planned, made = collected
    per_method = {}
    for method in ("tvrl", "ltn"):
        per_seed = [
            paired.scores(paired.load(c.folder, "linear"), **planned.config.bootstrap)
            for c in cells_of(planned, method)
        ]
        alike = zip(*per_seed, strict=True)
        own = next(g for g in alike if (g[0].metric, g[0].seed) == ("auroc", ALL))
        drawn_S = np.mean([list(s.draws.values()) for s in own], 0)
        per_method[method] = np.mean([s.sample_R for s in own], 0), drawn_S
    gap_R, gap_S = (a - b for a, b in zip(*per_method.values(), strict=True))
    low, high = np.percentile(gap_R[np.isfinite(gap_R)], intervals.MIDDLE)
    errors = [(high - low) ** 2 / 4, np.var(gap_S, ddof=1) / len(gap_S)]
    at = summary.Setting("linear", 1.0)
    row = summary.gather(made).find("tvrl - ltn", "cad", at, "auroc")
    freedoms = own[0].per_class - 1, len(gap_S) - 1
    freedom = sum(errors) ** 2 / sum(e**2 / f for e, f in zip(errors, freedoms, strict=True))
    half = student.ppf(0.975, freedom) * sum(errors) ** 0.5
    ends = np.clip((row["value"] - half, row["value"] + half), -1, 1)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(ends))
    pairs = {r["method"] for r in made if " - " in r["method"]}
    assert {"tvrl - cvrl", "ltn - cvrl", "tvrl - constant", "cvrl - untrained (tvrl)"} <= pairs
    assert not any(name.endswith("- tvrl") for name in pairs)


def test_p_of_the_methods_contains_the_spread_over_pretrainings(thrice):
    """A third error, with one degree of freedom less than there are seeds."""
    planned, made = thrice
    at, of = summary.Setting("linear", 1.0), ("tvrl - ltn", "cad")
    results = summary.gather(made)
    means = {c.name: c for c in collect.columns(planned) if c.probe == "linear"}
    own, other = (
        next(s for s in means[name].mean if s.metric == "auroc") for name in ("tvrl", "ltn")
    )
    gap_R = own.sample_R - other.sample_R
    low, high = np.percentile(gap_R[np.isfinite(gap_R)], intervals.MIDDLE)
    errors, freedoms = [(high - low) ** 2 / 4], [own.per_class - 1]
    for name in ("draws", "pretrainings"):
        gap_S = np.subtract(*(list(getattr(s, name).values()) for s in (own, other)))
        errors.append(np.var(gap_S, ddof=1) / len(gap_S))
        freedoms.append(len(gap_S) - 1)
    assert len(gap_S) == 3 and errors[-1] > 0
    freedom = sum(errors) ** 2 / sum(e**2 / f for e, f in zip(errors, freedoms, strict=True))
    value = results.find(*of, at, "auroc")["value"]
    wanted = 2 * student.sf(abs(value) / sum(errors) ** 0.5, freedom)
    assert results.find(*of, at, "auroc_p_methods")["value"] == pytest.approx(wanted)
    pairs = {r["method"] for r in made if r["metric"].endswith("_p_methods")}
    assert pairs == {"tvrl - cvrl", "tvrl - ltn", "ltn - cvrl", "cvrl - ltn"}  # no baseline
    tested = claims.table(planned, results, at)
    row = next(r for r in tested.rows if r[:3] == ["cad", "TVRL", "LTN"])
    assert row[tested.head.index("p of the methods")] == claims._probability({"value": wanted})
    assert "third error" in tested.note
    assert {len(row) for row in tested.rows} == {len(tested.head)}


def test_two_pretrainings_tell_no_p_of_the_methods(thrice, collected):
    planned, made = collected
    assert not [r for r in made if r["metric"].endswith("_p_methods")]
    tested = claims.table(planned, summary.gather(made), summary.Setting("linear", 1.0))
    assert tested.head[-2:] == ["corrected p", "verdict"] and "third" not in tested.note
    assert {len(row) for row in tested.rows} == {len(tested.head)}
    planned, _ = thrice  # and where one of three has failed, two are left
    columns = [
        c._replace(seeds=(0, 1, 5)) if c.name == "ltn" else c for c in collect.columns(planned)
    ]
    pairs = {
        r["method"]
        for r in collect.difference_rows(planned, columns)
        if r["metric"].endswith("_p_methods")
    }
    assert pairs == {"tvrl - cvrl"}


def test_a_pair_without_a_seed_in_common_is_named(collected):
    planned, _ = collected
    left = {"tvrl": 0, "cvrl": 1}  # the seed that did not fail
    columns = [
        collect._column(c.name, c.probe, [(k, c.per_seed[k])]) if (k := left.get(c.name)) in (0, 1)
        else c
        for c in collect.columns(planned)
    ]  # fmt: skip
    results = summary.gather(collect.result_rows(planned, columns))
    note = summary._note(planned, results, summary.Setting("linear", 1.0))
    assert "TVRL and CVRL: no seed in common, so that they are not compared" in note
    assert "TVRL and LTN: no seed" not in note


def test_methods_are_compared_over_the_seeds_that_both_have(collected):
    """One that failed with a seed is not compared with the other's luck in that seed."""
    planned, made = collected
    columns = collect.columns(planned)
    failed = [
        c if c.name != "ltn" else collect._column(c.name, c.probe, [(0, c.per_seed[0])])
        for c in columns
    ]
    one_each = [
        c
        if c.name not in ("tvrl", "ltn")
        else collect._column(c.name, c.probe, [(0, c.per_seed[0])])
        for c in columns
    ]
    at = summary.Setting("linear", 1.0)
    without, alone = (
        summary.gather(collect.result_rows(planned, found)) for found in (failed, one_each)
    )
    for metric in ("auroc", "auroc_p"):
        values = [r.find("tvrl - ltn", "cad", at, metric) for r in (without, alone)]
        assert values[0] == values[1], metric
    both = summary.gather(made)
    for pair in ("tvrl - cvrl", "tvrl - constant"):  # nothing else moves
        rows = [r.find(pair, "cad", at, "auroc") for r in (without, both)]
        assert rows[0] == rows[1]
    note = "LTN: seed 0 alone"
    assert note in summary.scores(planned, without, at).note
    assert note not in summary.scores(planned, both, at).note
    apart = [c if c.name != "tvrl" else c._replace(seeds=(5, 6)) for c in columns]
    rows = collect.difference_rows(planned, apart)
    assert not [r for r in rows if r["method"] == "tvrl - ltn"]
    assert [r for r in rows if r["method"] == "tvrl - constant"]


def test_holm_is_the_largest_of_all_smaller_ones_times_what_is_left():
    p_N = np.array([0.01, 0.04, np.nan, 0.03, 0.005, 0.9])
    known_N = sorted(p for p in p_N if p == p)
    slow = {p: min(1, max((5 - i) * q for i, q in enumerate(known_N) if q <= p)) for p in known_N}
    made = stats.holm(p_N)
    assert np.isnan(made[2])
    np.testing.assert_allclose(np.delete(made, 2), [slow[p] for p in p_N if p == p])
    assert len(stats.holm(np.array([]))) == 0


def test_corrected_probabilities_are_of_the_claim_alone(collected):
    _, made = collected
    rows = [row for row in made if row["metric"].endswith(collect.HOLM)]
    assert {row["method"] for row in rows} == {"tvrl - cvrl", "tvrl - ltn"}
    assert {row["metric"] for row in rows} == {"r2_p_holm", "auroc_p_holm"} and len(rows) == 4
    assert {row["task"] for row in rows} == {"ef", "cad"}
    plain = {
        (r["method"], r["task"]): r["value"] for r in made if r["metric"] in ("r2_p", "auroc_p")
    }
    for row in rows:
        before = plain[row["method"], row["task"]]
        assert before <= row["value"] <= min(1, 4 * before) + 1e-12


def test_results_csv_is_that_of_a_probe_with_two_more_columns(collected, tmp_path):
    _, made = collected
    tables.write_results(tmp_path / "results.csv", made, collect.COLUMNS)
    header = (tmp_path / "results.csv").read_text().splitlines()[0].split(",")
    assert tuple(header) == (*COLUMNS, "pretraining_seed", "spread")
    assert len(tables.read_results(tmp_path / "results.csv")) == len(made)


def test_the_table_and_the_page_say_what_was_measured(collected, tmp_path):
    planned, made = collected
    results = summary.gather(made)
    told = [("command", "python")], faults.find(planned, results)
    text = markdown.text(planned, results, *told)
    for words in ("| TVRL |", "untrained (tvrl)", "af ! (AUROC)", "±", "| 2 | - |"):
        assert words in text, words
    assert "cad (AUROC)" in text and "of 6 claimed differences" in text
    assert "2 rest on too few patients to tell." in text
    assert text.count("| - | - | too few patients |") == 2 and "over the other 4 diff" in text
    assert "clips.windows | 2 | 2 | 1" in text
    page.write(tmp_path / "report.html", planned, results, *told)
    html = (tmp_path / "report.html").read_text()
    assert "running means where 40 or more rows were logged" in html  # here are three
    # `untrained` and `constant` are what the project calls baselines: the figure subtracts neither
    assert "best baseline" not in html
    assert "that of CVRL, LTN which is best at the task" in html
    assert html.count("<img") == 2 and "http" not in html.replace("http-equiv", "")
    assert figures.label_efficiency(planned, results, "linear") is None  # one fraction: no curve


def _axes(monkeypatch, draw) -> list:
    """The visible panels of a figure."""
    drawn = []
    monkeypatch.setattr(figures, "png", lambda figure: drawn.append(figure) or b"")
    draw()
    return [axis for axis in drawn[0].axes if axis.get_visible()]


def _at_fractions(made: list[dict], values: dict[str, tuple[float, float]]) -> list[dict]:
    """Rows of a comparison with these R2 of a tenth and of all of the labels."""
    found = []
    for row in made:
        pair = values.get(row["method"]) if row["metric"] == "r2" else None
        if pair:
            near = [dict(value=v, ci_low=v - 0.01, ci_high=v + 0.01) for v in pair]
            found += [row | of | {"fraction": f} for of, f in zip(near, (0.1, 1.0), strict=True)]
    return found


@pytest.mark.parametrize(
    ("values", "lowest"),
    [
        ({"tvrl": (0.4, 0.7), "constant": (-0.32, -0.32)}, -0.32),
        ({"tvrl": (0.4, 0.7), "constant": (-0.1, 0.0)}, -0.1),
        ({"tvrl": (-40.0, 0.7), "constant": (0.0, 0.0)}, -0.7),  # it would press all else flat
        ({"tvrl": (0.4, 0.7), "constant": (-9.0, -3.0)}, -3.0),
    ],
)
def test_no_curve_is_wholly_outside_its_panel(collected, monkeypatch, values, lowest):
    planned, made = collected
    results = summary.gather(_at_fractions(made, values))
    (axis,) = _axes(monkeypatch, lambda: figures.label_efficiency(planned, results, "linear"))
    low, high = axis.get_ylim()
    assert lowest - 0.1 * (high - lowest) < low < lowest and high > 0.7
    for line in axis.lines:
        assert max(line.get_ydata()) > low


def test_steps_are_whole_numbers(collected, monkeypatch):
    planned, _ = collected
    for axis in _axes(monkeypatch, lambda: figures.training(planned)):
        assert all(float(tick).is_integer() for tick in axis.get_xticks())


def test_a_method_of_its_own_budget_is_judged_by_it(known, tmp_path):
    """Its contrastive loss is that of guessing among the views of its own batch."""
    config = presets.get_config("phantom_cardiac")
    config.methods, config.seeds = ("cvrl", "tvrl"), (0,)
    config.only.tvrl.train = {"batch_size": 8}
    planned = small_plan(config, tmp_path, known)
    found = dict(machine.pairs(planned, "command"))
    assert found["budget"] == "CVRL: 2000 steps of 32 series; TVRL: 2000 steps of 8 series"
    assert found["model"] == "micro, 32 pixels, the same for each method"
    assert not any("budget" in note for note in page.NOTES)  # which `only` may change, as here
    for cell in planned.cells:
        cell.folder.mkdir(parents=True)
        if cell.kind == TRAIN:
            record.write(cell, Record(cell.arguments, 0, "", 60.0, 0.0))
            rows = [
                {"step": s, "loss": 2.0, "loss_contrastive": float(np.log(15))} for s in range(300)
            ]
            log = "".join(json.dumps(row) + "\n" for row in rows)
            (cell.folder / "metrics.jsonl").write_text(log)
    raised = faults.raised(planned, summary.gather([]))
    assert len(raised) == 1 and raised[0].startswith("tvrl seed 0 pretrain: Nothing")


def test_a_method_that_is_no_better_than_its_untrained_encoder_is_named(tmp_path, known):
    """Each is compared with the encoder of its own architecture, over all pretraining seeds."""
    config = presets.get_config("phantom_cardiac")
    config.methods, config.seeds, config.probes = ("cvrl", "tvrl"), (0, 1), ("linear",)
    planned = small_plan(config, tmp_path, known)
    p = {"cvrl": 0.2, "tvrl": 1e-4}

    def row(method, metric, value, seed="all"):
        of = dict(cohort="c", task="EF", probe="linear", fraction=1.0, seed="all", n=99)
        interval = dict(value=value, ci_low=value - 0.1, ci_high=value + 0.1)
        return of | interval | dict(method=method, metric=metric, pretraining_seed=seed, spread=0.0)

    made = []
    for method in config.methods:
        other = f"untrained ({method})"
        made += [row(method, "r2", 0.5), row(method, "r2", 0.1, seed=0), row(other, "r2", 0.3)]
        made += [row(f"{method} - {other}", "r2", 0.2)]
        made += [row(f"{method} - {other}", "r2_p", p[method])]
    (said,) = faults.raised(planned, summary.gather(made))
    assert said.startswith("cvrl: Pretraining has not helped") and "in 0 of 1 tasks" in said


def test_a_note_says_whether_the_draws_of_labels_are_in_the_intervals(collected):
    planned, made = collected
    results = summary.gather(made)
    at = summary.Setting("linear", 1.0)
    assert "over patients and draws of labels]; mean of 5 draws" in summary._note(
        planned, results, at
    )
    single = planned._replace(config=planned.config.copy_and_resolve_references())
    with single.config.unlocked():
        single.config.probe.seeds = 1
    note = summary._note(single, results, at)
    assert "[95 % interval over patients]; one seed: the luck of its draw" in note


def test_seeds_that_disagree_are_neither_ahead_nor_behind(collected):
    planned, made = collected
    at = summary.Setting("linear", 1.0)
    own = [r for r in made if r["method"] == "tvrl - cvrl" and r["pretraining_seed"] != ALL]
    assert {(r["metric"], r["pretraining_seed"]) for r in own} == {
        (metric, seed) for metric in ("r2", "auroc") for seed in (0, 1)
    }
    over = summary.gather(made).find("tvrl - cvrl", "ef", at, "r2")["value"]
    values = [r["value"] for r in own if (r["task"], r["metric"]) == ("ef", "r2")]
    assert np.mean(values) == pytest.approx(over) and len(values) == 2

    def verdict(*values):
        """Of claimed differences that are beyond chance, with these values of the two seeds."""
        seeds = iter(values)
        changed = []
        for row in made:
            row = dict(row)
            if (row["method"], row["task"]) == ("tvrl - cvrl", "ef"):
                if row["metric"].endswith(collect.HOLM):
                    row["value"] = 0.01
                elif row["metric"] == "r2":
                    row["value"] = sum(values) if row["pretraining_seed"] == ALL else next(seeds)
            changed.append(row)
        tested = claims.table(planned, summary.gather(changed), at)
        words = next(r for r in tested.rows if r[:3] == ["ef", "TVRL", "CVRL"])
        return words[-1], claims.verdict(tested, at)

    assert verdict(0.1, 0.3)[0] == claims.AHEAD and verdict(-0.1, -0.3)[0] == claims.BEHIND
    assert verdict(-0.1, 0.3)[0] == claims.SPLIT
    assert "In 1 the pretraining seeds disagree." in verdict(-0.1, 0.3)[1]
    assert "disagree" not in verdict(0.1, 0.3)[1]


def test_few_patients_of_a_class_are_few_in_the_probe_that_reads_classes_alone(known, tmp_path):
    """One column as a target and as the event: few are free of it, and many have it."""
    config = presets.get_config("phantom_retina")
    config.methods, config.claimed, config.against = ("cvrl", "tvrl"), ("tvrl",), ("cvrl",)
    planned = small_plan(config, tmp_path, known)

    def row(method, probe, metric, value):
        of = dict(cohort="c", task="event", fraction=1.0, seed=ALL, n=60, pretraining_seed=ALL)
        interval = dict(value=value, ci_low=value - 0.05, ci_high=value + 0.05, spread=np.nan)
        return of | interval | dict(method=method, probe=probe, metric=metric)

    made = []
    for probe, metric, smallest in (("linear", "auroc", 5), ("cox", "c_index", 55)):
        made += [row(method, probe, metric, 0.6) for method in config.methods]
        made += [row(method, probe, "patients_per_class", smallest) for method in config.methods]
        made.append(row("tvrl - cvrl", probe, metric, 0.2))
    made += [row("tvrl - cvrl", "cox", f"c_index{end}", 1e-4) for end in ("_p", collect.HOLM)]
    results = summary.gather(made)
    for probe, marked in (("linear", True), ("cox", False)):
        at = summary.Setting(probe, 1.0)
        shown, tested = summary.scores(planned, results, at), claims.table(planned, results, at)
        assert ("!" in shown.head[1]) == ("!" in tested.rows[0][0]) == marked
        assert ("!" in shown.note) == (tested.rows[0][-1] == claims.TOO_FEW) == marked
        told = figures.forest(planned, results, at)
        few = figures.forest(planned, results._replace(small={(probe, "event")}), at)
        assert (told == few) == marked


def test_a_probability_is_not_rounded_to_the_other_side_of_its_verdict():
    texts = [
        claims._probability({"value": p}) for p in (0.0498, 0.0502, 2e-6, 0.0032, 0.123, np.nan)
    ]
    assert texts == ["0.0498", "0.0502", "< 0.0001", "0.0032", "0.12", "-"]


def test_the_page_tells_the_unit_of_its_horizons(collected):
    planned, made = collected
    for rows, told in ((made, False), ([*made, made[0] | {"metric": "auc_2"}], True)):
        made_of = page.sections(planned, summary.gather(rows), [], faults.Faults([], []))
        notes = made_of[-1].parts[0].items
        assert any("is a time in s." in note for note in notes) is told


def test_a_mark_among_all_metrics_is_not_taken_for_a_verdict(collected):
    planned, made = collected
    at = summary.Setting("linear", 1.0)
    lead = [r | {"ci_low": 0.1, "ci_high": 0.2} for r in made if r["method"] == "tvrl - cvrl"]
    own = [r for r in made if r["method"] in ("tvrl", "cvrl")]
    apart = [r | {"value": r["value"] + 0.2 * (r["method"] == "tvrl")} for r in own]
    for rows, told in ((own, False), (apart + lead, True)):
        note = page._all_metrics(planned, summary.gather(rows), at).note
        assert "the pretraining seeds 0, 1 are averaged, too." in note
        assert ("does not ask whether the pretraining seeds agree." in note) is told


def test_the_seeds_of_the_probe_are_numbered_as_those_of_pretraining(collected, monkeypatch):
    monkeypatch.setattr(machine, "devices", lambda: "none")
    assert (
        dict(machine.pairs(collected[0], "x"))["seeds"] == "pretraining 0, 1; probe 0, 1, 2, 3, 4"
    )


def test_every_column_looks_different_in_the_figures(collected):
    planned, _ = collected
    names = collect.names(planned)
    assert {"untrained (cvrl)", "untrained (tvrl)"} < set(names)
    assert len({str(figures.look(planned, name)) for name in names}) == len(names)


def test_verdicts_and_notes_are_of_these_encoders(collected):
    planned, made = collected
    results, at = summary.gather(made), summary.Setting("linear", 1.0)
    single = planned._replace(config=planned.config.copy_and_resolve_references())
    single.config.seeds = (0,)
    assert "intervals and p do not contain" in summary._note(planned, results, at)
    assert (
        "every pretraining seed of both alone has the same"
        in claims.table(planned, results, at).note
    )
    for note in (summary._note(single, results, at), claims.table(single, results, at).note):
        assert "for these encoders" in note and "one pretraining each" in note
    assert "of these encoders" in claims.verdict(claims.table(single, results, at), at)


def test_a_comparison_without_any_result_still_has_a_table(known, tmp_path):
    planned = small_plan(presets.get_config("phantom_cardiac"), tmp_path, known)
    results = summary.gather(collect.result_rows(planned, collect.columns(planned)))
    told = [("command", "python")], faults.find(planned, results)
    text = markdown.text(planned, results, *told)
    assert text.count("not run yet") == 14 and "% of the labels" not in text
    page.write(tmp_path / "report.html", planned, results, *told)


def test_names_are_no_markup_of_the_table():
    grid = summary.Grid(["method", "a|b (R2)"], [["<b>x</b>", "< 0.01"]], "")
    assert markdown.table(grid).splitlines()[0] == "| method | a\\|b (R2) |"
    assert markdown.table(grid).splitlines()[2] == "| \\<b>x\\</b> | < 0.01 |"


def test_long_names_leave_room_for_the_figure():
    figure = Figure()
    axis = figure.subplots()
    name = "thickness of the " + "very " * 30 + "central retina"
    axis.set_title(f"{name}\n(R2)")
    axis.set_yticks([0, 1], [name, "va"])
    style.png(figure)
    assert axis.get_title(loc="center").split("\n") == [style._cut(name), "(R2)"]
    ticks = [label.get_text() for label in axis.get_yticklabels()]
    assert ticks[1] == "va" and ticks[0] == style._cut(name) and len(ticks[0]) <= style.LONGEST
    assert ticks[0].startswith("thickness of the") and ticks[0].endswith("central retina")
