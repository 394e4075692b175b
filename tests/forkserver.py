"""A process that has imported what the scripts need, and forks one child per command.

A child costs a second less than a process of its own and is a process all the same: it can be
killed, limited and waited for. Run as a program it reads requests, one JSON object a line.
"""

import contextlib
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import careless

ROOT = Path(__file__).resolve().parent.parent
CACHE = os.environ.get("JAX_COMPILATION_CACHE_DIR", "/tmp/tvrl_xla")
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": careless.flags(alike=True),
    "JAX_COMPILATION_CACHE_DIR": CACHE,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
}


class Child:
    """A forked command. `poll` is None while it runs; its output is a file."""

    def __init__(self, server: "ForkServer", pid: int, output: Path):
        self.pid, self.output, self.code = pid, output, None
        self._server = server

    def poll(self) -> int | None:
        if self.code is None:
            self.code = self._server.ask(poll=self.pid)
        return self.code

    def wait(self, seconds: float = 900) -> int:
        end = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(
                    f"{self.pid} has not ended in {seconds} s: {self.said()[-2000:]}"
                )
            time.sleep(0.02)
        return self.code

    def kill(self) -> None:
        """SIGKILL, and waits for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
        while self.poll() is None:
            time.sleep(0.001)

    def said(self) -> str:
        return self.output.read_text(errors="replace")


class ForkServer:
    """Use as a context: all that is still running at its end is killed."""

    def __init__(self, folder: Path):
        self.folder, self._children = folder, []

    def __enter__(self) -> "ForkServer":
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *exception) -> None:
        for child in self._children:
            if child.code is None:
                child.kill()
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def ask(self, **request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, script: str, *arguments: str, **hooks) -> Child:
        """`hooks`: see `_prepare`."""
        output = self.folder / f"output_{len(self._children)}.txt"
        request = dict(argv=[script, *map(str, arguments)], output=str(output), hooks=hooks)
        child = Child(self, self.ask(**request), output)
        self._children.append(child)
        return child

    def run(self, script: str, *arguments: str, **hooks) -> tuple[int, str]:
        child = self.start(script, *arguments, **hooks)
        return child.wait(), child.said()


def _prepare(
    order: str = "",
    nan_at: tuple[int, ...] = (),
    stop_at: int = -1,
    file_limits: dict[str, int] | None = None,
    report: bool = False,
    pack_pause: float = 0.0,
) -> None:
    """What the tests look at, and what they break.

    Args:
      order: a file that gets a line for each batch: its step, its series, and a hash of its frames.
      nan_at: steps whose loss and gradient become NaN.
      stop_at: a step; the command gets SIGTERM before it.
      file_limits: step -> bytes that a file may have from then on (0 = any number); writing
        beyond fails as on a full disk.
      report: whether to draw report.html at the end, which takes as long as a short run.
      pack_pause: seconds that packing an image takes longer.
    """
    if pack_pause:
        _pack_slowly(pack_pause)
    if order or stop_at >= 0 or file_limits:
        _watch_batches(order, stop_at, {int(k): v for k, v in (file_limits or {}).items()})
    if nan_at:
        _break_steps(nan_at)
    if not report:
        from tvrl_jax.report import html

        html.write = lambda *args: "not drawn"


def _pack_slowly(pause: float) -> None:
    from tvrl_jax.data import packed

    whole = packed.write

    def write(*args):
        whole(*args)
        time.sleep(pause)

    packed.write = write


def _watch_batches(path: str, stop_at: int, file_limits: dict[int, int]) -> None:
    import zlib

    from tvrl_jax import trainer

    whole = trainer.train_batches

    class Logged:
        def __init__(self, *args, start_step, **kwargs):
            self.inner, self.step = whole(*args, start_step=start_step, **kwargs), start_step

        def __next__(self):
            batch = next(self.inner)
            content = zlib.crc32(batch["clip_BVTHWC"].tobytes())
            content = zlib.crc32(batch["time_BVT"].tobytes(), content)
            row = [self.step, batch["series_B"].tolist(), content]
            if path:
                with open(path, "a") as file:
                    file.write(json.dumps(row) + "\n")
            if self.step in file_limits:
                limit = file_limits[self.step] or resource.RLIM_INFINITY
                if file_limits[self.step]:
                    _settle()
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            if self.step == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
            self.step += 1
            return batch

        def close(self):
            self.inner.close()

    trainer.train_batches = Logged


def _settle() -> None:
    """Waits for a checkpoint that is on its way to the disk."""
    (folder,) = [a.split("=", 1)[1] for a in sys.argv if a.startswith("--workdir=")]
    end = time.monotonic() + 20  # what cannot be written stays as it is
    while list(Path(folder).glob("checkpoints/*tmp*")) and time.monotonic() < end:
        time.sleep(0.005)


def _break_steps(steps) -> None:
    import jax
    import jax.numpy as jnp

    from tvrl_jax import step

    whole = step.train_step

    def broken(learner, state, batch):
        new, logged, embedding = whole(learner, state, batch)
        factor = jnp.where(jnp.isin(state.step, jnp.array(steps)), jnp.nan, 1.0)
        spoil = lambda tree: jax.tree.map(lambda x: (x * factor).astype(x.dtype), tree)  # noqa: E731
        new = new._replace(params=spoil(new.params), extra=spoil(new.extra), ema=spoil(new.ema))
        return new, {**logged, "loss": logged["loss"] * factor}, embedding

    step.train_step = broken


def _child(argv, output: int, hooks: dict) -> None:
    for number in (1, 2):
        os.dup2(output, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = argv
    code = 1
    try:
        _prepare(**hooks)
        runpy.run_path(argv[0], run_name="__main__")
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)


def _serve() -> None:
    from ml_collections import config_flags  # noqa: F401

    from configs import base, probe_base, tvrl  # noqa: F401
    from tvrl_jax import prober, trainer  # noqa: F401
    from tvrl_jax.command import cli  # noqa: F401
    from tvrl_jax.report import html  # noqa: F401

    writers = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            answer = _poll(request["poll"], writers)
        else:
            # What is said goes through a pipe: a limit of the child's files must not reach it.
            output = request.pop("output")
            with open(output, "wb") as file:
                writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
            answer = os.fork()
            if not answer:
                _child(output=writer.stdin.fileno(), **request)
            writer.stdin.close()
            writers[answer] = writer
        print(json.dumps(answer), flush=True)


def _poll(pid: int, writers: dict[int, subprocess.Popen]) -> int | None:
    done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        return None
    with contextlib.suppress(subprocess.TimeoutExpired):  # a grandchild may still hold the pipe
        writers.pop(pid).wait(10)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    _serve()
