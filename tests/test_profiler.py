"""A trace holds the steps that were asked for, and what cannot be asked for is refused."""

import gzip
import json
import logging
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from configs import tvrl
from tvrl_jax import loop
from tvrl_jax.errors import UserError
from tvrl_jax.profiler import Profiler, window


def test_a_window_is_from_its_first_step_to_before_its_end():
    assert list(window("10:15", 100)) == [10, 11, 12, 13, 14]
    assert list(window("0:1", 1)) == [0]
    assert not window("", 100)


@pytest.mark.parametrize("text", ["10", "10:", "15:10", "10:10", "a:b", "-1:3", "1:2:3", "1.0:2"])
def test_what_is_no_window_is_named(text):
    with pytest.raises(UserError, match=f'config.profile.steps = "{text}" must be FIRST:END'):
        window(text, 100)


def test_steps_that_a_run_does_not_have_are_refused():
    with pytest.raises(UserError, match=r'"10:15" goes beyond config.train.steps = 14'):
        window("10:15", 14)


def _train(profiler: Profiler, numbers) -> None:
    for number in numbers:
        profiler.before(number)
        with jax.profiler.TraceAnnotation(f"step number {number}"):
            outputs = jnp.sin(jnp.ones(8))
        profiler.after(number, outputs)


def _traced(folder) -> list[int]:
    """The steps whose names stand in the trace."""
    (file,) = folder.rglob("*.trace.json.gz")
    assert list(folder.rglob("*.xplane.pb"))
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    names = {event.get("name", "") for event in events}
    return sorted(int(name.split()[-1]) for name in names if name.startswith("step number"))


def test_the_steps_of_the_window_are_traced_and_no_others(tmp_path):
    profiler = Profiler(range(2, 4), tmp_path / "profile")
    _train(profiler, range(6))
    profiler.close()
    assert _traced(tmp_path / "profile") == [2, 3]


def test_a_run_that_ends_or_begins_within_the_window_has_what_there_was(tmp_path):
    for folder, numbers in (("ends", range(0, 4)), ("begins", range(4, 8))):
        profiler = Profiler(range(3, 6), tmp_path / folder)
        _train(profiler, numbers)
        profiler.close()
        assert _traced(tmp_path / folder) == [n for n in numbers if n in range(3, 6)]


def test_without_a_window_nothing_is_written(tmp_path):
    profiler = Profiler(range(0), tmp_path / "profile")
    _train(profiler, range(3))
    profiler.close()
    assert not (tmp_path / "profile").exists()


def test_a_trace_that_finds_no_room_ends_no_run(tmp_path, monkeypatch, caplog):
    profiler = Profiler(range(1), tmp_path / "profile")
    profiler.before(0)
    stop = jax.profiler.stop_trace

    def full():
        stop()
        raise RuntimeError("RESOURCE_EXHAUSTED: vm.xplane.pb; No space left on device")

    monkeypatch.setattr(jax.profiler, "stop_trace", full)
    profiler.close()
    assert "there is no room for a trace on the disk" in caplog.text


def test_what_is_said_is_what_was_traced(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "tvrl_jax")
    for name in ("start_trace", "stop_trace"):
        monkeypatch.setattr(jax.profiler, name, lambda *_: None)
    for numbers, words in ((range(11), "steps 10 to 10 in"), (range(12, 20), "steps 12 to 14 in")):
        profiler = Profiler(range(10, 15), tmp_path)
        _train(profiler, numbers)
        profiler.close()
        assert f"trace of {words}" in caplog.messages[-1]


def test_a_window_that_lies_behind_the_start_is_told(tmp_path, caplog):
    config = tvrl.get_config()
    config.profile.steps = "10:15"
    run = SimpleNamespace(learner=SimpleNamespace(config=config), folder=tmp_path)
    for start in (0, 14):
        loop._profiler(run, start)
        assert not caplog.messages
    loop._profiler(run, 15)
    assert '"10:15" lies behind step 15, at which the run goes on' in caplog.text
