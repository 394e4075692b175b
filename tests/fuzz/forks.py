"""Runs numbered inputs in forks of this process, and outlives whatever they do."""

import faulthandler
import os
import shutil
import struct
import tempfile
import traceback
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .law import Broken, Target, Watch, check, peak

BATCH = 250  # inputs of one fork
SECONDS = 60.0  # for one input; a fork that takes longer ends itself (a busy machine is slow)
REPORT = struct.Struct("<IB")  # number, answer
GOOD, REFUSED, FAILED, BEGUN = range(4)


class Failure(NamedTuple):
    target: str
    seed: int
    number: int
    said: str

    def __str__(self) -> str:
        again = f"python -m tests.fuzz --target={self.target} --seed={self.seed}"
        return f"{self.target} {self.number}: {self.said}\n  again: {again} --only={self.number}"


class Count(NamedTuple):
    target: str
    inputs: int
    good: int
    refused: int
    failures: tuple[Failure, ...]

    def __str__(self) -> str:
        return (
            f"{self.target:<18} {self.inputs:>6} inputs {self.good:>6} read {self.refused:>6} "
            f"refused {len(self.failures):>4} failures"
        )


def random(target: Target, seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(target.name.encode()), number])


def run(target: Target, seed: int, numbers: Iterable[int], keep: Path | None = None) -> Count:
    """Every input once. Inputs that break the law are copied into `keep`."""
    numbers, counts, failures = list(numbers), [0, 0], []
    left = list(numbers)
    while left:
        batch = left[:BATCH]
        done = _fork(target, seed, batch, keep)
        for number, answer, said in done:
            if answer == FAILED:
                failures.append(Failure(target.name, seed, number, said))
            else:
                counts[answer] += 1
        left = left[len(done) :]
    return Count(target.name, len(numbers), counts[GOOD], counts[REFUSED], tuple(failures))


def _fork(target: Target, seed: int, batch: list[int], keep: Path | None) -> list[tuple]:
    """(number, answer, what was said) of each input that was begun."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _child(target, seed, batch, folder, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            raw = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        reports = [REPORT.unpack_from(raw, k) for k in range(0, len(raw), REPORT.size)]
        done = [(n, a, _said(folder, n)) for n, a in reports if a != BEGUN]
        if reports and reports[-1][1] == BEGUN:
            number, how = reports[-1][0], _ending(folder, status)
            _keep(keep, target, seed, number, folder / str(number))
            done.append((number, FAILED, how))
        elif len(done) < len(batch) and not (done and done[-1][1] == FAILED):
            raise RuntimeError(f"a fork ended before its inputs ({status}): {_ending(folder, 0)}")
        for number, answer, _ in done:
            if answer == FAILED:
                _keep(keep, target, seed, number, folder / str(number))
    return done


def _ending(folder: Path, status: int) -> str:
    text = (folder / "stderr").read_text(errors="replace") if (folder / "stderr").exists() else ""
    late = text.rfind("Timeout (")  # how faulthandler begins
    shown = text[late:][:1500] if late >= 0 else text[-1500:]
    return f"the process ended with {status}: {shown}"


def _said(folder: Path, number: int) -> str:
    path = folder / f"{number}.txt"
    return path.read_text() if path.exists() else ""


def _keep(keep: Path | None, target: Target, seed: int, number: int, inside: Path) -> None:
    if keep and inside.is_dir():
        place = keep / f"{target.name}-{seed}-{number}"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(inside, place, symlinks=True, ignore=_specials)


def _specials(folder: str, names: list[str]) -> list[str]:
    paths = [(name, os.path.join(folder, name)) for name in names]
    return [n for n, p in paths if not (os.path.islink(p) or os.path.isfile(p) or os.path.isdir(p))]


def _child(target: Target, seed: int, batch: list[int], folder: Path, pipe: int) -> None:
    """Never returns. Output of the libraries goes to a file of the folder."""
    out = os.open(folder / "stderr", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(out, 1), os.dup2(out, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.enable(file=2)
    try:
        watch, base = Watch(), peak()
        os.environ["TMPDIR"] = str(folder)
        for number in batch:
            os.write(pipe, REPORT.pack(number, BEGUN))
            faulthandler.dump_traceback_later(SECONDS, exit=True, file=2)
            answer = _one(target, seed, number, folder, watch, base)
            faulthandler.cancel_dump_traceback_later()
            os.write(pipe, REPORT.pack(number, answer))
            if answer == FAILED:
                break  # what went wrong may have left its mark on the process
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        os._exit(70)
    os._exit(0)


def _one(target, seed: int, number: int, folder: Path, watch: Watch, base: int) -> int:
    inside = folder / str(number)
    inside.mkdir()
    given = target.make(random(target, seed, number), inside)
    try:
        good = check(target, given, inside, watch, base)
    except Broken as error:
        (folder / f"{number}.txt").write_text(str(error))
        return FAILED
    except BaseException:
        (folder / f"{number}.txt").write_text(traceback.format_exc()[-2500:])
        return FAILED
    shutil.rmtree(inside, ignore_errors=True)
    return GOOD if good else REFUSED
