"""What is restored is what was saved, or it is said that it is not."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tvrl_jax.checkpoint import Checkpoints, restore_for_reading
from tvrl_jax.errors import UserError, verdict
from tvrl_jax.peers import Alone


def _tree(seed: int) -> dict:
    a, b = jax.random.normal(jax.random.key(seed), (2, 64, 32))
    return {"step": jnp.int32(seed), "params": {"encoder": {"a": a}, "head": b}, "extra": {}}


def _abstract():
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    spec = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one)  # noqa: E731
    return jax.tree.map(spec, _tree(0))


def _equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def _save(folder, losses: dict[int, float], keep=2):
    with Checkpoints(folder / "checkpoints", keep=keep, best="loss") as checkpoints:
        for step, loss in losses.items():
            checkpoints.save(step, _tree(step), {"note": "x"}, {"loss": loss})
            checkpoints.wait()


def _flip_bit(folder):
    files = [f for f in folder.rglob("*") if f.is_file() and "/d/" in str(f)]
    largest = max(files, key=lambda f: f.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 4
    largest.write_bytes(content)


def test_newest_is_restored_whole(tmp_path):
    _save(tmp_path, {1: 3.0, 2: 2.0})
    with Checkpoints(tmp_path / "checkpoints", keep=2, best="loss") as checkpoints:
        restored = checkpoints.restore_newest(_abstract())
    assert restored.step == 2 and restored.meta["note"] == "x"
    _equal(restored.tree, _tree(2))


def test_newest_and_best_are_kept(tmp_path):
    _save(tmp_path, {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.5, 5: 2.6})
    with Checkpoints(tmp_path / "checkpoints", keep=2, best="loss") as checkpoints:
        assert checkpoints.steps() == [2, 4, 5]
    assert restore_for_reading(tmp_path, ("params",), "best").step == 2
    assert restore_for_reading(tmp_path, ("params",), "newest").step == 5


def test_flipped_bit_is_noticed_and_the_previous_one_used(tmp_path):
    _save(tmp_path, {1: 3.0, 2: 2.0})
    _flip_bit(tmp_path / "checkpoints" / "2")
    with pytest.raises(UserError, match="step 2 is damaged"):
        restore_for_reading(tmp_path, ("params", "extra"), "newest")
    with Checkpoints(tmp_path / "checkpoints", keep=2, best="loss") as checkpoints:
        restored = checkpoints.restore_newest(_abstract())
        assert restored.step == 1 and checkpoints.steps() == [1]
        checkpoints.save(2, _tree(2), {}, {"loss": 2.0})
    _equal(restored.tree, _tree(1))
    assert (tmp_path / "damaged" / "checkpoints-2").is_dir()
    assert restore_for_reading(tmp_path, ("params",), "newest").step == 2


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory, 9 bytes"), RuntimeError, "memory"),
        (MemoryError("Unable to allocate"), MemoryError, "memory"),
        (PermissionError(13, "Permission denied"), UserError, "Permission denied"),
        (ValueError("NOT_FOUND: [OS error 116: ESTALE Stale file handle]"), UserError, "Stale"),
        (OSError(24, "Too many open files"), UserError, "Too many open files"),
    ],
)
def test_what_is_no_fault_of_a_checkpoint_leaves_it_alone(
    tmp_path, monkeypatch, error, raised, words
):
    _save(tmp_path, {1: 3.0, 2: 2.0})

    def restore(*args, **options):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(ocp.StandardCheckpointHandler, "restore", restore)
        with (
            Checkpoints(tmp_path / "checkpoints", keep=2, best="loss") as checkpoints,
            pytest.raises(raised) as caught,
        ):
            checkpoints.restore_newest(_abstract())
        patched.setattr(ocp.PyTreeCheckpointHandler, "restore", restore)
        with pytest.raises(raised) as beside:
            restore_for_reading(tmp_path, ("params",), "newest")
    for found in (caught.value, beside.value):
        code, sentence = verdict(found)
        assert code == 2 and words in sentence and "damaged" not in sentence
    assert not (tmp_path / "damaged").exists()
    with Checkpoints(tmp_path / "checkpoints", keep=2, best="loss") as checkpoints:
        assert checkpoints.restore_newest(_abstract()).step == 2


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew_unasked(tmp_path):
    _save(tmp_path, {1: 3.0, 2: 2.0})
    _flip_bit(tmp_path / "checkpoints" / "1")
    (tmp_path / "checkpoints" / "2" / "metrics" / "metrics").write_text("{")  # noticed earlier
    with (
        Checkpoints(tmp_path / "checkpoints", keep=2, best="loss") as checkpoints,
        pytest.raises(UserError, match="no checkpoint is whole; 2 were set aside in .*damaged"),
    ):
        checkpoints.restore_newest(_abstract())
    assert len(list((tmp_path / "damaged").iterdir())) == 2
    with Checkpoints(tmp_path / "checkpoints", keep=2, best="loss") as checkpoints:
        assert checkpoints.restore_newest(_abstract()) is None  # who starts it again, means it


def test_a_damaged_checkpoint_that_cannot_be_set_aside_is_named(tmp_path):
    _save(tmp_path, {1: 3.0, 2: 2.0})
    _flip_bit(tmp_path / "checkpoints" / "2")
    (tmp_path / "damaged").write_text("a file where the folder would be")
    with (
        Checkpoints(tmp_path / "checkpoints", keep=2, best="loss") as checkpoints,
        pytest.raises(UserError, match="checkpoints/2 is damaged and cannot be set aside"),
    ):
        checkpoints.restore_newest(_abstract())
    assert (tmp_path / "checkpoints" / "2").is_dir()


def test_processes_that_see_other_checkpoints_do_not_go_on(tmp_path):
    """One would restore step 2 and the other step 1, and each would wait for the other."""
    _save(tmp_path, {1: 3.0, 2: 2.0})

    class Behind(Alone):
        def agree(self, value, combine=lambda values: None):
            return combine([value, [1] if value == [1, 2] else value])

    folder = tmp_path / "checkpoints"
    with (
        Checkpoints(folder, keep=2, best="loss", peers=Behind()) as checkpoints,
        pytest.raises(UserError, match=r"process 1 does not see .* \(\[1\], not \[1, 2\]\)"),
    ):
        checkpoints.restore_newest(_abstract())
    assert not (tmp_path / "damaged").exists()


def test_no_flipped_bit_of_any_file_is_believed(tmp_path):
    """Whichever file it hits: it is noticed, or nothing that is restored depends on it."""
    _save(tmp_path, {1: 3.0})
    rng = np.random.default_rng(0)
    folder = tmp_path / "checkpoints" / "1"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    noticed = 0
    for path in [path for path in files for _ in range(4)]:
        before = path.read_bytes()
        if not before:
            continue
        content = bytearray(before)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            restored = restore_for_reading(tmp_path, ("step", "params", "extra"), "best")
            _equal(restored.tree, _tree(1))
            assert restored.meta["note"] == "x" and restored.meta["step"] == 1
        except UserError:
            noticed += 1
        path.write_bytes(before)
    assert noticed >= len(files)
    _equal(restore_for_reading(tmp_path, ("params",), "best").tree["params"], _tree(1)["params"])


def test_a_rating_that_was_changed_is_not_believed(tmp_path):
    _save(tmp_path, {1: 1.0, 2: 2.0})
    metrics = tmp_path / "checkpoints" / "1" / "metrics" / "metrics"
    metrics.write_text(metrics.read_text().replace("1.0", "9.0"))
    with pytest.raises(UserError, match="does not say how good it was"):
        restore_for_reading(tmp_path, ("params",), "best")
    with Checkpoints(tmp_path / "checkpoints", keep=2, best="loss") as checkpoints:
        assert checkpoints.steps() == [2]
    assert (tmp_path / "damaged" / "checkpoints-1").is_dir()


def test_a_checkpoint_without_any_finite_loss_is_never_the_best(tmp_path):
    _save(tmp_path, {1: float("inf"), 2: 2.0, 3: float("inf")}, keep=1)
    assert restore_for_reading(tmp_path, ("params",), "best").step == 2
    assert restore_for_reading(tmp_path, ("params",), "newest").step == 3


def test_where_none_was_rated_the_newest_is_the_best(tmp_path):
    _save(tmp_path, {1: float("inf"), 2: float("inf")})
    assert restore_for_reading(tmp_path, ("params",), "best").step == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"params": {"encoder": {"a": (48, 32)}, "head": (64, 32)}},
            r"is \(64, 32\), not \(48, 32",
        ),
        (
            {"params": {"encoder": {"a": (64, 32), "b": (3,)}, "head": (64, 32)}},
            "no params/encoder/b",
        ),
        ({"params": {"encoder": {}, "head": (64, 32)}}, "holds params/encoder/a besides"),
        ({"ema": {"a": (64, 32)}}, "other settings .*no ema/a"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_and_left_alone(tmp_path, changes, words):
    _save(tmp_path, {1: 3.0, 2: 2.0})
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    spec = lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=one)  # noqa: E731
    changed = jax.tree.map(spec, changes, is_leaf=lambda x: isinstance(x, tuple))
    with Checkpoints(tmp_path / "checkpoints", keep=2, best="loss") as checkpoints:
        with pytest.raises(UserError, match=words):
            checkpoints.restore_newest({**_abstract(), **changed})
        assert checkpoints.steps() == [1, 2]
    assert not (tmp_path / "damaged").exists()


def test_a_metric_that_is_gone_is_named_and_unreadable_ones_are_set_aside(tmp_path):
    _save(tmp_path, {1: 3.0, 2: 2.0})
    metrics = tmp_path / "checkpoints" / "2" / "metrics" / "metrics"
    metrics.write_text("{")
    for _ in range(2):
        with pytest.raises(UserError, match=r"checkpoints/2 does not say .* step 2\."):
            restore_for_reading(tmp_path, ("params",), "best")
        assert restore_for_reading(tmp_path, ("params",), "newest").step == 2
        metrics.unlink(missing_ok=True)
    metrics.write_text("{")
    with Checkpoints(tmp_path / "checkpoints", keep=2, best="loss") as checkpoints:
        assert checkpoints.restore_newest(_abstract()).step == 1


@pytest.mark.parametrize("part", ["state", "meta", "all", "content"])
def test_what_only_looks_like_a_checkpoint_is_one_sentence(tmp_path, part, caplog):
    _save(tmp_path, {1: 3.0})
    folder = tmp_path / "checkpoints" / "1"
    for child in list(folder.iterdir()):
        if part in ("all", child.name):
            shutil.rmtree(child) if child.is_dir() else child.unlink()
    for file in (f for f in folder.rglob("*") if f.is_file() and part == "content"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"step 1 is damaged \(.*\); there is no other\.$") as error:
        restore_for_reading(tmp_path, ("params",), "newest")
    assert "\n" not in str(error.value) and not caplog.records


@pytest.mark.parametrize(
    ("place", "step", "words"),
    [
        ("", "", '^step "": '),
        ("", "²", '^step "²": .* has 1; '),
        ("", "7", '^step "7"'),
        ("checkpoints/1", "newest", "is one of a run: name the run, .*, and the step, 1"),
        ("checkpoints/1/meta/metadata", "newest", "is a file"),
    ],
)
def test_a_step_or_a_place_that_is_none_is_named(tmp_path, place, step, words):
    _save(tmp_path, {1: 3.0})
    with pytest.raises(UserError, match=words):
        restore_for_reading(tmp_path / place, ("params",), step)


def test_part_of_the_state_is_read_without_the_model(tmp_path):
    _save(tmp_path, {1: 3.0})
    restored = restore_for_reading(tmp_path, ("params",), "1")
    _equal(restored.tree, {"params": _tree(1)["params"]})


@pytest.mark.parametrize("kind", ["absent", "empty", "file"])
def test_what_is_no_checkpoint_is_refused(tmp_path, kind):
    folder = tmp_path / kind
    if kind == "empty":
        folder.mkdir()
    elif kind == "file":
        folder.write_text("x")
    with pytest.raises(UserError, match="^checkpoint .*; name the folder of a pretraining run"):
        restore_for_reading(folder, ("params",), "newest")
