"""Every key of a probe, with its meaning and its unit.

    python probe.py --config=configs/probe_linear.py --checkpoint=runs/x --workdir=runs/x-probe

The model, the clips and the cohort come from the checkpoint. A kind of probe
(`configs/probe_linear.py`, ...) changes a few of these keys and restates none. An empty string, an
empty tuple or a 0 marked so means "as in pretraining".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = ConfigDict()
    # linear, ridge, attentive, cls, knn, cox, hazard, temporal, export, finetune or supervised
    c.kind = "linear"
    c.fractions = (0.01, 0.1, 1.0)  # shares of the labelled training patients, nested
    c.seeds = 5  # numbered 0, 1, ...: each draws its own patients and its own initial head
    c.restarts = 1  # fits of a draw, each from its own start; 2 or more split the spread over seeds
    c.baselines = ("untrained", "constant")  # compared with; () = none
    c.against = ()  # folders of other probes of this kind and these test patients; () = none
    c.untrained_seed = 0  # of the parameters of the untrained encoder (and of `supervised`)

    # Another cohort than that of pretraining; configs/base.py says what a key means. "none" for a
    # column, subject_csv or column_unit, and ("none",) for targets, take away what pretraining had.
    c.data = ConfigDict()
    c.data.cohort = ""  # its name, written into results.csv; "" = as in pretraining
    c.data.root = ""  # folder that the CSV's paths are relative to; "" = as in pretraining
    c.data.csv = ""  # the cohort table, relative to data.root; "" = as in pretraining
    c.data.subject_csv = ""  # second table, one row per subject; "" = as in pretraining
    c.data.time_unit = ""  # must be that of pretraining; "" = it is
    c.data.image_size = 0  # side of a stored frame, pixels: must be that of pretraining; 0 = it is
    c.data.channels = 0  # must be those of pretraining; 0 = they are
    c.data.column_unit = ""  # of the columns time and times; "" = as in pretraining
    c.data.frame_interval = 0.0  # for files without times; 0 = as in pretraining, -1 = they have
    c.data.split_fractions = ()  # train, val, test; () = as in pretraining
    c.data.split_seed = -1  # of the split by patient; -1 = as in pretraining
    c.data.pixel_mm = 0.0  # pixel size to resample to; 0 = as in pretraining, -1 = keep pixels
    c.data.fit = ""  # to a square: pad, crop or stretch; "" = as in pretraining
    c.data.percentiles = ()  # of a series: scaled to 0 and 255; () = as in pretraining
    c.data.on_bad = ""  # a file that cannot be read: stop or skip; "" = as in pretraining
    c.data.on_equal_times = ""  # stop or keep; "" = as in pretraining
    c.data.store = ""  # decoded frames; "" = as in pretraining
    c.data.threads = 0  # reading threads; 0 = as in pretraining
    c.data.targets = ()  # "COLUMN:regression", "COLUMN:classification"; () = as in pretraining
    c.data.columns = ConfigDict()  # our noun -> the CSV's column; "" = as in pretraining
    c.data.columns.subject = ""  # the patient
    c.data.columns.path = ""  # image file, or folder of single-frame DICOMs
    c.data.columns.time = ""  # time of a row's image, one row per dated image
    c.data.columns.times = ""  # all frame times of a row's file
    c.data.columns.series = ""  # rows of one subject and series are joined
    c.data.columns.slice = ""  # take only this slice
    c.data.columns.split = ""  # train, val or test; a probe learns from train
    c.data.columns.event = ""  # 1 = observed, 0 = censored
    c.data.columns.duration = ""  # time to event or censoring, in data.time_unit

    c.features = ConfigDict()  # frozen features: computed once, then read from the cache
    c.features.batch_size = 256  # frames (spatial encoder) or windows (temporal encoder) at once
    c.features.stride = 0  # frames between two neighbours of a window; 0 = as in pretraining
    c.features.sampling = ""  # random (every window) or newest; "" = as in pretraining
    c.features.every = 1  # frames between the starts of two windows; 1 = every start
    c.features.cache = "~/.cache/tvrl_jax/features"  # one file per encoder, cohort and settings
    c.features.settle_batches = 128  # training batches that settle BatchNorm (untrained, averaged)
    c.features.settle_size = 128  # frames in each of them

    c.linear = ConfigDict()
    c.linear.feature = "cls"  # cls (temporal CLS) or token (mean of the frame tokens)
    c.linear.learning_rates = (0.001, 0.003, 0.01, 0.03, 0.1)  # AdamW, whole training set a step
    c.linear.weight_decays = (0.0, 0.01, 0.1, 1.0)  # AdamW's; chosen on validation
    c.linear.epochs = 200  # the best one is chosen on validation
    c.linear.chunk = 0  # (task, fraction, seed) draws fitted at once: bounds memory; 0 = all

    c.ridge = ConfigDict()  # ridge regression; logistic regression with the same penalty
    c.ridge.feature = "cls"  # cls or token
    # s in sum of losses + s / 2 |weights|^2 (scikit-learn's alpha, 1 / C), chosen on validation
    c.ridge.strengths = tuple(10.0 ** (k / 2) for k in range(-6, 14))

    c.survival = ConfigDict()  # cox and hazard: when predictions are judged
    c.survival.horizons = (1.0, 2.0, 3.0)  # of AUC and Brier score, data.time_unit
    c.survival.tau = 0.0  # events from here on do not count in c_index_ipcw; 0 = last horizon
    c.survival.grid = 30  # even steps to the last horizon, of the integrated Brier score

    c.cox = ConfigDict()  # proportional hazards
    c.cox.feature = "cls"  # cls or token
    c.cox.strengths = c.ridge.strengths  # of the same penalty

    c.hazard = ConfigDict()  # one logistic hazard per interval of time
    c.hazard.feature = "cls"  # cls or token
    c.hazard.strengths = c.ridge.strengths  # of the same penalty
    c.hazard.bins = 10  # intervals, between quantiles of the event times in use

    c.attentive = ConfigDict()  # one learned query over the frame tokens, then a linear head
    c.attentive.frames = 64  # a longer series is thinned evenly to so many tokens
    c.attentive.learning_rates = (0.001, 0.003, 0.01, 0.03, 0.1)  # AdamW
    c.attentive.weight_decays = (0.0, 0.01, 0.1, 1.0)  # AdamW's; chosen on validation
    c.attentive.epochs = 30  # passes over the training series in use
    c.attentive.batch_size = 128  # series a step; where fewer are in use, all of them
    c.attentive.min_steps = 100  # a small label fraction makes more passes
    c.attentive.evaluations = 10  # looks at validation during training
    c.attentive.chunk = 1  # draws fitted at once, each with the whole grid: bounds memory; 0 = all

    c.cls = ConfigDict()  # a new temporal CLS token, trained with the head (published protocol)
    c.cls.learning_rates = (0.001, 0.01)  # AdamW
    c.cls.weight_decays = (0.0, 0.05)  # AdamW's; chosen on validation
    c.cls.epochs = 20  # passes over the training series in use
    # series a step, one random window each; where fewer are in use, all of them
    c.cls.batch_size = 64
    c.cls.min_steps = 100  # a small label fraction makes more passes, to have at least so many
    c.cls.evaluations = 10  # looks at validation during training
    c.cls.val_windows = 4  # evenly spread windows of a validation series; test takes all
    c.cls.chunk = 20  # (draw, learning rate, weight decay) fits at once: bounds memory; 0 = all

    c.knn = ConfigDict()
    c.knn.feature = "cls"  # cls or token
    c.knn.ks = (1, 5, 10, 20, 50)  # numbers of neighbours tried on validation
    c.knn.temperature = 0.07  # a neighbour counts exp(cosine / this)

    c.temporal = ConfigDict()  # does it know time? Measures that need no labels but the times
    c.temporal.windows = 8  # most windows of a series, evenly spread
    c.temporal.scale = 2.0  # a window's times x this, its frames kept
    c.temporal.pairs = 8  # pairs of frames of a series whose elapsed time is read
    c.temporal.bins = 24  # of time along a side of a heat map, at most
    c.temporal.subjects = 4  # test patients that are drawn one by one
    # Shortcuts, probed where the table has the column; those that cannot be probed are named.
    c.temporal.columns = ("site", "sex", "age", "spacing_mm")
    c.temporal.classes = 5  # a column of numbers with at most so many different ones holds classes
    c.temporal.strengths = c.ridge.strengths  # of the ridge penalty of everything that is read
    c.temporal.retrieval = 64  # series that are compared at once, of retrieval with blank images
    c.temporal.seed = 0  # of the shuffled orders, the pairs and the retrieval's views

    c.export = ConfigDict()  # features as files
    c.export.feature = "cls"  # cls or token: that of features.csv; features.npz has both
    c.export.frames = False  # features of every frame, too, in features.npz

    c.finetune = ConfigDict()  # finetune and supervised: the whole network learns from labels
    c.finetune.learning_rates = (1e-4,)  # AdamW
    c.finetune.weight_decays = (0.05,)  # AdamW's; chosen on validation
    c.finetune.epochs = 50  # passes over the training series in use
    c.finetune.batch_size = 64  # series a step, one random window each
    c.finetune.min_steps = 100  # a small label fraction makes more passes
    c.finetune.warmup_fraction = 0.1  # of the steps, linear from 0; then cosine to 0
    c.finetune.clip_norm = 1.0  # of the gradient's global norm; 0 = no clipping
    c.finetune.evaluations = 10  # looks at validation during training
    c.finetune.val_windows = 4  # evenly spread windows of a validation series; test takes all

    c.augment = ConfigDict()  # finetune and supervised: mild, one draw per clip
    c.augment.rotation = 0.0  # degrees, either way
    c.augment.crop = (0.9, 1.0)  # area of the random resized crop, fraction of the frame
    c.augment.hflip = 0.3  # probability
    c.augment.vflip = 0.0  # probability
    c.augment.brightness = 0.2  # factor in 1 -+ this
    c.augment.contrast = 0.2  # factor in 1 -+ this
    c.augment.jitter_probability = 0.8  # of brightness and contrast
    c.augment.blur_sigma = (0.1, 2.0)  # of the 3 x 3 Gaussian, pixels
    c.augment.blur_probability = 0.0  # of the blur
    c.augment.time_shift = 0.0  # added to a clip's times: uniform in -+ this, data.time_unit
    c.augment.time_scale = 0.0  # a clip's times x uniform in 1 -+ this
    c.augment.time_jitter = 0.0  # normal noise on each time: standard deviation, data.time_unit
    c.augment.interval_scale = 0.0  # each interval between frames x uniform in 1 -+ this

    c.bootstrap = ConfigDict()
    c.bootstrap.samples = 1000  # resamples of the test patients: a standard error to 2 %
    c.bootstrap.seed = 0  # of the resamples

    c.log = ConfigDict()
    c.log.compilation_cache = "~/.cache/tvrl_jax/xla"  # "" = compile anew every time
    return c
