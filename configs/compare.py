"""Every key of a comparison: each method pretrained on one cohort with one budget, then probed.

    python -m tvrl_jax.compare --config=configs/compare.py:phantom_cardiac

A method's configuration is configs/METHOD.py:COHORT for the keys of `inherent`, `shared` for all
others, then `only`. So methods differ in what makes them, and in nothing else.
"""

from ml_collections import ConfigDict

from configs import base, cohorts, demo
from tvrl_jax import settings

# What the synthetic cohorts take from the demo: a size and an augmentation with which two CPU
# cores learn within minutes. What depends on the images or on the unit of time stays the cohort's.
SMALL = """
    model.arch model.dropout model.temporal_depth model.temporal_heads
    model.head_hidden model.head_width augment.crop augment.hflip augment.vflip augment.brightness
    augment.contrast optim.lr train.steps train.batch_size
    train.checkpoint_every log.every log.diagnose_every
""".split()
CARDIAC = """
    data.phantom.size data.image_size data.fit data.pixel_mm model.image_size model.input_mean
    model.input_std
""".split()
# 300 and 450 patients to test on: with 135 a difference of 0.12 in AUROC is not told from chance.
SUBJECTS = {"phantom_cardiac": 2000, "phantom_retina": 3000}


def get_config(cohort: str = "own") -> ConfigDict:
    c = ConfigDict()
    c.cohort = cohort  # a preset of configs/cohorts.py
    # The first method of each architecture lends it to `untrained`.
    c.methods = ("cvrl", "ltn", "videomae", "csimclr", "csimclr_te", "tvrl", "causal")  # in order
    c.seeds = (0,)  # of pretraining, each a run of its own
    c.probes = ("linear",)  # kinds, as in configs/probe_KIND.py
    c.baselines = ("untrained", "constant")  # measured besides; () = none
    c.claimed = ("tvrl", "csimclr_te")  # the published claim: these are ahead ...
    c.against = ("cvrl", "ltn", "videomae")  # ... of these

    c.shared = _shared(cohort)  # SECTION.KEY of configs/base.py, the same for every method
    # Keys and sections of configs/METHOD.py that `shared` leaves to the method.
    c.inherent = (
        "objective",  # the learning rule itself
        "clips.windows",  # CVRL and LTN compare two windows, the others two views of one
        "model.time_embedding",  # which methods are told the times is what they differ in
        "model.stem",  # VideoMAE removes patches before the encoder: a conv stem would mix them
    )

    c.only = ConfigDict()  # METHOD.SECTION.KEY: for one method alone, each with its reason
    c.only.videomae = _videomae(c.shared)
    # Hiding frames from what is compared is an augmentation that the others do not have.
    c.only.tvrl = ConfigDict({"objective": {"masked_contrast": False}})

    c.probe = ConfigDict()  # keys of configs/probe_base.py, for every method and kind
    c.probe.fractions = (0.01, 0.1, 1.0)  # shares of the labelled training patients, nested
    c.probe.seeds = 5  # draws of patients and initial heads
    c.probe.data = ConfigDict()  # another table for the probes, such as one with new test patients
    c.probe.data.root = ""  # folder that the table's paths are relative to; "" = as in pretraining
    c.probe.data.csv = ""  # the table, relative to that folder; "" = as in pretraining
    c.probe.data.cohort = ""  # its name in table and results; "" = as in pretraining
    c.probe.data.columns = ConfigDict()
    c.probe.data.columns.split = ""  # its column of splits; "" = as in pretraining
    c.probe.survival = ConfigDict()  # of cox and hazard alone: when predictions are judged
    c.probe.survival.horizons = (1.0, 2.0, 3.0)  # of AUC and Brier score, data.time_unit
    c.probe.survival.tau = 0.0  # events from here on do not count in c_index_ipcw; 0 = last horizon
    c.probe.survival.grid = 30  # even steps to the last horizon, of the integrated Brier score
    c.probe.features = ConfigDict()
    c.probe.features.every = 1  # frames between the starts of two windows; 1 = every start
    c.probe.features.batch_size = 256  # frames, or windows, at once
    c.probe.features.cache = "~/.cache/tvrl_jax/features"  # one file per encoder and cohort

    c.bootstrap = ConfigDict()  # of the test patients, the same draws for all methods
    c.bootstrap.samples = 5000  # a standard error is then known to 1 %
    c.bootstrap.seed = 0

    if cohort == "phantom_retina":
        c.probe.fractions = (0.1, 0.3, 1.0)  # a hundredth leaves no patient of a rare class
        c.probes = ("linear", "cox")  # what is asked of visits is when something will happen
    return c


def _shared(cohort: str) -> ConfigDict:
    shared = cohorts.apply(base.get_config(), cohort)
    if cohort == "phantom_cardiac":
        _take(shared, demo.get_config(), SMALL + CARDIAC)
    if cohort == "phantom_retina":
        _take(shared, demo.get_config(), SMALL)
    if cohort in SUBJECTS:
        shared.data.root += "_compare"
        shared.data.phantom.subjects = SUBJECTS[cohort]
    if cohort == "phantom_cardiac":
        # Motion is learned late, and later with a clock: after 1,000 steps only some had got there.
        shared.train.steps = 2000
    for key in ("method", "seed", "objective"):
        del shared[key]
    return shared


def _take(config: ConfigDict, source: ConfigDict, keys: list[str]) -> None:
    values = dict(settings.leaves(source))
    config.update_from_flattened_dict({key: values[key] for key in keys})


def _videomae(shared: ConfigDict) -> ConfigDict:
    """At 32 pixels a tenth of the patches of 16 pixels is two: nothing to reconstruct from.

    The rest follows `shared`, unless it is said for this method: by itself it would take a `drop`
    of 0.0, having no clock.
    """
    patch_size = shared.model.get_oneway_ref("patch_size")
    if shared.model.image_size <= 64:
        patch_size = 8
    own = ConfigDict({"model": {"patch_size": patch_size}, "clips": {}})
    for key in ("drop", "drop_spread"):
        own.clips[key] = shared.clips.get_oneway_ref(key)
    return own
