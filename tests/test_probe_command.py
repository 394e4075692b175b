"""probe.py as a person runs it: what is wrong leaves the folder alone, what is right fills it."""

import shutil

import jax
import pytest
from test_command_line import assert_sentence, run

from configs import base, probe_knn, tvrl
from tests import tiny
from tvrl_jax import prober, settings, trainer
from tvrl_jax.checkpoint import Checkpoints
from tvrl_jax.probing import paired
from tvrl_jax.report import tables


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A run folder that holds the smallest model as it starts: a checkpoint like any other."""
    folder = tmp_path_factory.mktemp("pretrained")
    tiny.write_cohort(folder / "cohort", subjects=32)
    config = tiny.shrink(tvrl.get_config("phantom_cardiac"), folder / "cohort")
    network = trainer.make_network(config, trainer.find_objective(config), outputs=1)
    params, extra = network.init(jax.random.key(0))
    with Checkpoints(folder / "run" / "checkpoints", keep=1, best="loss") as checkpoints:
        tree = {"params": params, "extra": extra, "ema": {}}
        checkpoints.save(1, tree, {"config": settings.to_json(config)}, {"loss": 1.0})
        checkpoints.wait()
    return folder


def _changes(pretrained, **changes):
    keys = {"seeds": 2, "restarts": 2, "fractions": (0.5, 1.0), "baselines": ("constant",)}
    keys |= {"bootstrap.samples": 50, "features.cache": str(pretrained / "cache")}
    return keys | {key.replace("__", "."): value for key, value in changes.items()}


def _command(pretrained, workdir, **changes):
    return run(
        "probe.py",
        "--config=configs/probe_knn.py",
        f"--checkpoint={pretrained / 'run'}",
        f"--workdir={workdir}",
        *(f"--config.{key}={value}" for key, value in _changes(pretrained, **changes).items()),
    )


def _probe(pretrained, workdir, **changes):
    config = probe_knn.get_config()
    config.update_from_flattened_dict(_changes(pretrained, **changes))
    run_dir = str(pretrained / "run")
    kinds = dict(step="newest", resume=False, base=base.get_config())
    prober.probe(config, run_dir, str(workdir), **kinds)
    return tables.read_results(workdir / "results.csv")


def test_a_fraction_without_a_patient_of_a_class_names_the_smallest_that_works(
    pretrained, tmp_path, capsys
):
    workdir, only = tmp_path / "probe", {"data__targets": ("large:classification",)}
    result = _command(pretrained, workdir, fractions=(0.01, 1.0), **only)
    words = ['Column "large"', "fraction 0.01 leaves 0 of", 'of class "', "smallest usable"]
    assert_sentence(result, *words)
    assert not workdir.exists()
    named = float(result.stderr.strip().rstrip(".").rsplit(" ", 1)[1])
    rows = _probe(pretrained, workdir, fractions=(named, 1.0), **only)
    found = {row["metric"] for row in rows if row["fraction"] == named}
    assert found >= {"auroc_sd_draw", "auroc_sd_optimisation", "auroc_p", "auroc_p_delong"}
    page, printed = (workdir / "report.html").read_text(), capsys.readouterr().out
    assert all("large !" in text and "fewer than 10 test" in text for text in (page, printed))
    assert "label draw" in page and "_sd_draw" not in printed


def test_another_probe_is_compared_only_on_the_same_patients(pretrained, tmp_path):
    _probe(pretrained, tmp_path / "a")
    first = paired.load(tmp_path / "a", "knn").patient_N[0]
    cohort = tmp_path / "cohort"
    shutil.copytree(pretrained / "cohort", cohort)
    table, row = (cohort / "cohort.csv").read_text(), f"{first},{first}.npy,"
    assert row + "test" in table
    (cohort / "cohort.csv").write_text(table.replace(row + "test", row + "train"))
    changes = dict(against=f"('{tmp_path / 'a'}',)", data__root=cohort)
    result = _command(pretrained, tmp_path / "b", **changes)
    assert_sentence(result, f'Test patient "{first}" of {tmp_path / "a"}', "same test patients")
    assert not (tmp_path / "b").exists()
