"""Every key of a pretraining run, with its meaning and its unit.

A method (`configs/tvrl.py`, ...) and a cohort (`configs/cohorts.py`) each change a few of these
and restate none. An empty string means "not given"; there are no hidden defaults anywhere else.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = ConfigDict()
    c.method = ""  # name of the learning rule, written into results.csv
    c.seed = 0  # one seed for parameters, data order, augmentation and masks

    c.data = ConfigDict()
    c.data.cohort = ""  # name of the cohort, written into results.csv
    c.data.root = ""  # folder that the CSV's paths are relative to
    # A table relative to data.root, or a pattern such as "*.dcm": each file found is a row, with
    # the columns path, subject (the file's name; its path where names repeat) and folder.
    c.data.csv = ""  # the cohort table, or a pattern
    c.data.subject_csv = ""  # a second table with one row per subject, joined to the first
    # Our name for it -> the name of the CSV's column, or a template of columns in braces such as
    # "nifti/{subject}_sa.nii.gz"; "" = absent.
    c.data.columns = ConfigDict()
    c.data.columns.subject = "subject"  # the patient: splits, bootstrap and leak checks go by it
    c.data.columns.path = "path"  # image file, or folder of single-frame DICOMs
    c.data.columns.time = ""  # time of a row's dated image: in data.time_unit, or its ISO date
    c.data.columns.times = ""  # all frame times of a row's file in one cell, separated by spaces
    c.data.columns.series = ""  # rows of one subject and series are joined and sorted by time
    c.data.columns.slice = ""  # take only this slice (from 0); "" = every slice is a series
    c.data.columns.split = ""  # train, val or test; "" = a seeded split by patient
    c.data.columns.event = ""  # time-to-event: 1 = observed, 0 = censored
    c.data.columns.duration = ""  # time-to-event: time to event or censoring, in data.time_unit
    c.data.targets = ()  # "COLUMN:regression" or "COLUMN:classification"
    c.data.time_unit = "s"  # s, ms, frames, days, months or years
    c.data.column_unit = ""  # of the columns time and times; "" = data.time_unit
    c.data.frame_interval = 0.0  # in time_unit, for files without times; 0 = they must carry them
    c.data.split_fractions = (0.7, 0.15, 0.15)  # train, val, test, where there is no split column
    c.data.split_seed = 0  # separate from `seed`, so that runs of several seeds share one split
    c.data.channels = 1  # 1 = grey (colour is converted), 3 = RGB
    c.data.image_size = 128  # side of a stored frame, pixels
    c.data.pixel_mm = 0.0  # resample to this pixel size where the file states one; 0 = keep pixels
    c.data.fit = "pad"  # to a square: pad (nothing lost), crop (centre), stretch
    c.data.percentiles = (0.5, 99.5)  # of a series: scaled to 0 and 255
    c.data.on_bad = "stop"  # a file that cannot be read: stop, or skip (counted and listed)
    # Series of several frames that all carry one time, where the method uses times: stop or keep.
    c.data.on_equal_times = "stop"
    c.data.store = "~/.cache/tvrl_jax/store"  # decoded frames, shared by all runs
    c.data.threads = 4  # reading threads
    c.data.workers = 0  # reading processes; 0 = threads only, which is right for the store
    c.data.phantom = ConfigDict()  # a synthetic cohort, written to data.root when absent there
    c.data.phantom.kind = ""  # cardiac or retina, or "" = real data
    c.data.phantom.subjects = 0  # how many to write
    c.data.phantom.seed = 0  # of the synthetic subjects
    c.data.phantom.size = 0  # side of the written frames, pixels
    c.data.phantom.nuisance = ""  # none, mild or strong differences between subjects

    c.clips = ConfigDict()
    c.clips.frames = 8  # frames in a clip
    c.clips.stride = 2  # frames between two neighbours of a clip
    c.clips.sampling = "random"  # random start, or newest (visits: the newest always included)
    c.clips.windows = 1  # 1 = both views see one window, 2 = two windows of the series
    c.clips.interval = "linear_decrease"  # density of the gap between two windows' starts
    c.clips.relative_time = True  # times count from the window's first frame, not the series'
    # Probability that a view lacks a frame (never its newest), in pretraining; those left move
    # together. How many visits there are, and how they lie, identifies a patient.
    c.clips.drop = 0.0
    # Each view draws its own probability, uniform in drop -+ this: views of few visits and of many.
    c.clips.drop_spread = 0.0

    c.augment = ConfigDict()  # one draw per clip, the same for all its frames
    c.augment.rotation = 15.0  # degrees, either way
    c.augment.crop = (0.08, 1.0)  # area of the random resized crop, fraction of the frame
    c.augment.hflip = 0.5  # probability
    c.augment.vflip = 0.5  # probability
    c.augment.brightness = 0.8  # factor in 1 -+ this
    c.augment.contrast = 0.8  # factor in 1 -+ this
    c.augment.jitter_probability = 0.8  # of brightness and contrast
    c.augment.blur_sigma = (0.1, 2.0)  # of the 3 x 3 Gaussian, pixels
    c.augment.blur_probability = 0.5  # of the blur
    c.augment.time_shift = 0.0  # added to a view's times: uniform in -+ this, data.time_unit
    # The clock must not give the subject away (log.diagnose_every measures whether it does): heart
    # rates differ by about 17 %, which 0.75 hides and 0 shows.
    c.augment.time_scale = 0.75  # a view's times x uniform in 1 -+ this
    c.augment.time_jitter = 0.01  # normal noise on each time: standard deviation, data.time_unit
    # What a view's times count from: window (its first frame, or what clips.relative_time = False
    # counts from) or newest (its newest frame: all times are 0 or less).
    c.augment.time_origin = "window"
    # Each interval between neighbouring frames of a view x its own uniform in 1 -+ this: hides the
    # pattern of visits that identifies a patient, and keeps the pace on average.
    c.augment.interval_scale = 0.0

    c.model = ConfigDict()
    c.model.arch = "small"  # nano, micro, tiny, small, base or large
    c.model.image_size = 128  # side of the frames that the encoder sees, pixels
    c.model.input_mean = 0.3  # of frames in [0, 1]; the encoder sees (x - mean) / std
    c.model.input_std = 0.25  # see input_mean
    c.model.stem = "conv"  # conv (four strided convolutions) or patch (linear)
    c.model.patch_size = 16  # pixels; the conv stem's is 16
    c.model.dropout = 0.1  # in the spatial encoder only
    c.model.drop_path = 0.0  # stochastic depth: rate of the last block, linear from 0
    c.model.temporal_width = 0  # 0 = the spatial width
    c.model.temporal_depth = 3  # blocks
    # Of the temporal attention; 0 = 6, as published, or where they do not divide the width (large)
    # as many as the spatial encoder's. VideoMAE has none.
    c.model.temporal_heads = 0
    c.model.time_embedding = True  # add an embedding of each frame's time
    # data.time_unit; the slowest wave of the time embedding turns once in about 2 pi times this.
    c.model.max_period = 100.0
    c.model.head_hidden = 2048  # hidden width of the projection head
    c.model.head_width = 128  # of the embedding that is compared
    c.model.head_norm = True  # BatchNorm in the projection head
    c.model.batchnorm_padding = False  # True = padded frames count in the statistics, as published
    # What is computed again in the backward pass, for less memory and more time: none; weights
    # (all but products with weights), dots (all but matrix products), blocks (all of a block).
    c.model.remat = "none"
    c.model.dtype = "float32"  # of the computation (bfloat16 on accelerators); parameters: float32
    c.model.decoder_width = 0  # VideoMAE: width of the decoder; 0 = half the encoder's
    c.model.decoder_depth = 0  # VideoMAE: its blocks; 0 = as many as the encoder's, but 4 at most
    c.model.decoder_heads = 0  # VideoMAE: 0 = half as many as the encoder's, or as many where odd
    c.model.tubelet = 2  # VideoMAE: frames in a token

    c.objective = ConfigDict()  # keyword arguments of the objective named by `method`

    c.optim = ConfigDict()
    c.optim.lr = 2e-4  # per 256 series: the peak is lr x train.batch_size / 256
    c.optim.warmup_fraction = 0.1  # of train.steps, linear from a tenth of the peak
    c.optim.weight_decay = 0.05  # on every parameter
    c.optim.b1 = 0.9  # decay of AdamW's mean
    c.optim.b2 = 0.999  # decay of AdamW's mean square
    c.optim.eps = 1e-8  # floor of AdamW's divisor
    c.optim.clip_norm = 0.0  # clip the gradient's global norm; 0 = no clipping
    c.optim.accumulate = 1  # average the gradients of this many steps per update

    c.train = ConfigDict()
    c.train.steps = 20_000  # batches of the whole run; optim.accumulate of them make an update
    c.train.batch_size = 128  # series per step, over all devices
    # Encode a batch in this many pieces, one after another and again in the backward pass: memory
    # for activations falls as 1 / pieces. The loss still compares the whole batch, and loss and
    # gradients are those of one piece.
    c.train.micro_batches = 1
    # With several pieces, the stem's BatchNorm: exact (statistics of the whole batch, by a pass
    # over the stem for each of its layers) or micro (each piece by its own: cheaper, another rule).
    c.train.batchnorm = "exact"
    # Visits: encode only frames that are there, packed to the smallest of this many lengths that
    # holds a batch's (each is compiled once); 0 = padding is encoded too; cine has hardly any. Loss
    # and gradients are the same. VideoMAE encodes no padding in any case.
    c.train.capacities = 0
    # With more embeddings than this (two a series), logits are computed in tiles of so many rows
    # and columns, and anew for the gradient: memory grows as the batch and not as its square; over
    # several devices the keys go round a ring. 0 = the whole matrix always.
    c.train.contrast_tile = 1024
    c.train.sharding = "data"  # data (parameters on every device) or full (spread over the mesh)
    c.train.ema = 0.0  # decay, per update, of an averaged encoder, which probes measure; 0 = none
    c.train.ema_target = False  # TVRL and causal predict the averaged encoder's features
    c.train.checkpoint_every = 1000  # steps
    # Newest checkpoints kept, besides the best: that with the least mean loss since the one before.
    # One that comes out of turn, at the end or after a signal, is never taken as the best. (The
    # loss of tvrl and causal is another one once the latent term has begun.)
    c.train.keep = 2
    # No room on the disk. stop: the run ends; continue: it goes on with the checkpoints that there
    # are, and tries again when the next one is due.
    c.train.on_full = "stop"
    # A step whose loss or gradient is not finite changes nothing. stop: the run ends and keeps the
    # batch for a replay; skip: it goes on and counts such steps.
    c.train.on_nan = "stop"
    c.train.max_skips = 10  # with on_nan = skip: so many skipped steps in a row end the run
    # Seconds from SIGTERM or Ctrl-C to the end; what is done is saved before. Schedulers wait for
    # 30 or more until they kill.
    c.train.grace = 30.0

    c.distributed = ConfigDict()  # several processes (docs/scaling.md)
    c.distributed.start = 300.0  # seconds that they wait for each other at the start
    # Seconds after which a process that has fallen silent counts as lost, and the others end. One
    # that is killed or raises is missed at once.
    c.distributed.timeout = 60.0

    c.log = ConfigDict()
    c.log.every = 50  # steps between two lines of metrics.jsonl
    c.log.diagnose_every = 500  # steps between two checks with blank images
    c.log.tensorboard = True  # write tensorboard/ beside metrics.jsonl
    c.log.compilation_cache = "~/.cache/tvrl_jax/xla"  # "" = compile anew every time

    c.profile = ConfigDict()
    # Steps whose trace is written to profile/ in the run folder: "10:15" = 10 to 14; "" = none.
    c.profile.steps = ""
    return c
