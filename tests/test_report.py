"""Laws of report.html."""

import json
import math
import re

import numpy as np
import pytest
from written import result_row, write_log

from tvrl_jax.errors import UserError
from tvrl_jax.report import alarms, compare, evidence, facts, html, page, pictures, tables
from tvrl_jax.report.metricslog import FILE, MetricsLog

EVIL = '<script>alert("x")</script>'


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
    write_log(folder, range(9))
    rows = [
        result_row(method, task=task, value=v) for method, v in (("tvrl", 0.8), ("untrained", 0.3))
    ]
    rows += [result_row("tvrl", task="AF", metric="auroc", value=0.71)]
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
    base = {"seed": 0}
    return html.write(html.gather(folder, folder), base).read_text(), rows


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
    text = html.write(html.gather(tmp_path, tmp_path)).read_text()
    for name in ("config.json", FILE, "results.csv", "predictions_PROBE.npz", "samples.npz"):
        assert name in text
    assert "Missing when" in text and "<img" not in text


def test_every_probe_of_a_folder_is_drawn_with_its_own_scores(tmp_path):
    rows = [result_row(value=0.81, probe="linear"), result_row(value=0.22, probe="knn")]
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
    assert evidence.probes_of(kept, [result_row(probe="cox"), result_row()]) == ["linear"]
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
    write_log(run, range(3))
    tables.write_results(probe / "results.csv", [result_row()])
    path = html.write(html.gather(run, probe))
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
        text = html.write(html.gather(run, probe)).read_text()
        later = "; the run has gone on to step 3, which" if step < 3 else "</dd>"
        assert f"<dt>probed checkpoint</dt><dd>step {step}{later}" in text
        assert ("The loss was not finite at step 2." in text) is alarm
    (run / "probe_knn.json").write_text(json.dumps({"kind": "knn", "step": 2}))
    text = html.write(html.gather(run, run)).read_text()  # a page of the whole run
    assert "not finite at step 2." in text and "<dd>step 2; the run" in text
    (run / "probe_knn.json").unlink()
    assert "probed checkpoint" not in html.write(html.gather(run, run)).read_text()


def test_what_an_earlier_probe_noted_stays_in_the_report_of_its_folder(tmp_path):
    facts.save(tmp_path, "linear", ["va: 18 of 150 series have no value.", "said twice"])
    facts.save(tmp_path, "cox", ["said twice", EVIL])
    text = html.write(html.gather(tmp_path, tmp_path)).read_text()
    assert "va: 18 of 150 series" in text and text.count("said twice") == 1
    assert "&lt;script&gt;" in text
    facts.save(tmp_path, "linear", [])
    assert facts.load(tmp_path) == ["said twice", EVIL]
    (tmp_path / "notes_cox.json").write_text("[1]")
    with pytest.raises(UserError, match="notes_cox.json is damaged"):
        html.gather(tmp_path, tmp_path)


def test_what_is_not_defined_does_not_count_among_the_test_patients(tmp_path):
    rows = [result_row(), result_row(task="cosine", value=math.nan) | {"n": 0}]
    tables.write_results(tmp_path / "results.csv", rows)
    text = html.write(html.gather(tmp_path, tmp_path)).read_text()
    assert f"with a value of the target: {rows[0]['n']} here." in text


def test_the_report_tells_the_unit_of_its_horizons(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"data": {"time_unit": "days"}}))
    for metric, told in (("c_index_ipcw", False), ("brier_365", True)):
        tables.write_results(tmp_path / "results.csv", [result_row(metric=metric)])
        text = html.write(html.gather(tmp_path, tmp_path)).read_text()
        assert ("is a time in days." in text) is told


def test_a_page_is_named_by_the_cohort_that_was_probed_too(tmp_path):
    material = html.gather(tmp_path / "run", tmp_path / "probe")
    material = material._replace(config={"method": "tvrl", "data": {"cohort": "home"}})
    for rows, title in (
        ([], "tvrl on home"),
        ([result_row(cohort="home")], "tvrl on home"),
        ([result_row(cohort="abroad")], "tvrl on home, probed on abroad"),
    ):
        assert html._title(material._replace(results=rows)) == title


def test_a_table_that_does_not_count_its_patients_is_no_table_of_few():
    row = dict(method="a", cohort="x", task="t", probe="linear", fraction=1.0, seed="all")
    many = row | dict(metric="r2", value=0.5, ci_low=0.4, ci_high=0.6, n=100)
    assert compare.small([many, many | {"n": 0}]) == set()
    assert compare.small([many, many | {"n": 9}]) == {"t"}
    lines = compare.compare([many, many | {"probe": "cox", "n": 5}], ("a",), 1.0, probe="linear")
    assert not lines[0].few
