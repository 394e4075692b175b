"""Eight fake CPU devices, a shared compilation cache, and where recorded numbers and images lie."""

import os
import tempfile
from pathlib import Path

import careless

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {careless.flags(devices=8)}".strip()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "tvrl_xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import pytest
import tiny
from absl import flags
from forkserver import ForkServer

from tests import probe_network
from tvrl_jax import compare
from tvrl_jax.comparison import plan
from tvrl_jax.data import opening

ROOT = Path(__file__).resolve().parent.parent
# Modules of minutes begin first: the last one to begin is waited for by all other processes.
LONG = (
    *("test_distributed", "test_survive_kills", "test_compare", "test_probe_temporal"),
    *("test_survive_damage", "test_survive_endurance", "test_real_runs", "test_collectives"),
)


def pytest_configure(config):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain's worker processes read absl flags


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def pytest_terminal_summary(terminalreporter):
    """The counts of damaged inputs, whichever process ran them."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, ())]
    lines = [v for r in reports for name, v in getattr(r, "user_properties", ()) if name == "fuzz"]
    if lines:
        terminalreporter.section("damaged inputs")
        for line in sorted(lines):
            terminalreporter.write_line(line)


def _folder(variable: str, default: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"{what} not here: set ${variable} to the folder that holds them")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """What a module compiled is not kept for the others: by the end it would be gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """The tiny cohort."""
    folder = tmp_path_factory.mktemp("cohort")
    tiny.write_cohort(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(root):
    """Of the cohort in `root`, which a module may make its own."""
    return probe_network.encoder(root)


@pytest.fixture(scope="module")
def store(encoder):
    return opening.open_cohort(encoder.config.data)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Runs the scripts, each in a process forked from one that has imported what they need."""
    with ForkServer(tmp_path_factory.mktemp("output")) as server:
        yield server


@pytest.fixture(scope="session")
def known() -> plan.Presets:
    """The configurations of every method and probe, as a comparison finds them."""
    return compare.presets()


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    return _folder("TVRL_PARITY", ROOT.parent / "shared" / "parity", "recorded reference numbers")


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    return _folder("TVRL_REAL_DATA", ROOT.parent / "shared" / "data", "real example images")
