"""What a row of results.csv says, and where a probe keeps what it found."""

from pathlib import Path

COLUMNS = (
    "method",
    "cohort",
    "task",
    "probe",
    "fraction",
    "seed",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n",
)
KEY = COLUMNS[:7]  # what a row measures; the rest is what came out

CONSTANT = "constant"
BASELINES = ("untrained", CONSTANT)  # methods that learned nothing
MINUS = " - "  # in the method of a paired comparison
TEMPORAL = "temporal"  # the probe whose rows are about time
EXPORT = "export"  # the kind that writes features as files, and no row
ALL = "all"  # the seed of a row whose interval already is one over seeds

MAIN = ("r2", "auroc", "c_index")  # the metric of a task by which methods are compared
P = "_p"  # after the metric's name: the probability of a difference, of these encoders
P_METHODS = "_p_methods"  # the same, with the spread over pretrainings
SPREAD = ("_sd_draw", "_sd_optimisation")  # ends of a metric's name: a deviation among its fits
PER_CLASS = "patients_per_class"  # metric of a row that counts the test patients of a class
PATIENTS_OF = "patients_of_"  # before a metric: counts those of the smallest group that it needs
FEW = 10  # test patients; what rests on fewer is marked, and nothing is concluded from it

PREDICTIONS = "predictions_{}.npz"  # one for each kind of probe
# tasks of TEMPORAL: the time between two frames, by what it is read from
ELAPSED_TASKS = (
    "elapsed time from frames",
    "elapsed time from tokens",
    "elapsed time from tokens, times blank",
    "elapsed time from positions",
    "elapsed time of other pairs",
)

ABOUT_TIME = "temporal.npz"  # what the probe of time keeps for its pictures


def kinds(folder: str | Path) -> list[str]:
    """The kinds of probe that left predictions in a folder."""
    start, end = PREDICTIONS.split("{}")
    found = sorted(Path(folder).glob(PREDICTIONS.format("*")))
    return [path.name.removeprefix(start).removesuffix(end) for path in found]
