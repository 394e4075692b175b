"""Cohorts by name: where a table's columns are, and what suits its images.

`configs/METHOD.py:NAME` starts from one of these; without a name nothing is preset ("own"). Only
data.root must be given then; the synthetic cohort writes itself to its own. To bring a cohort, set
the same keys on the command line or add an entry here. A column may be a template of the table's
columns, such as "nifti/{subject}_sa.nii.gz".
"""

from ml_collections import ConfigDict

from tvrl_jax.errors import UserError, nearest

PHANTOM_CARDIAC = {
    "data.root": "data/phantom_cardiac",
    "data.csv": "cohort.csv",
    "data.columns.split": "split",
    "data.targets": (
        "LVEF:regression",
        "LVEDV:regression",
        "LVESV:regression",
        "LVSV:regression",
        "HR:regression",
        "CO:regression",
        "CAD:classification",
        "AF:classification",
    ),
    "data.image_size": 96,
    "data.phantom.kind": "cardiac",
    "data.phantom.subjects": 1000,
    "data.phantom.size": 96,
    "data.phantom.nuisance": "mild",
    "model.image_size": 96,
    "model.input_mean": 0.32,
    "model.input_std": 0.29,
}

# Retinal scans of 1 to 12 visits over years; each eye of a patient is a series.
PHANTOM_RETINA = {
    "data.root": "data/phantom_retina",
    "data.csv": "cohort.csv",
    "data.columns.time": "years",
    "data.columns.series": "eye",
    "data.columns.split": "split",
    "data.columns.event": "event",
    "data.columns.duration": "duration",
    "data.targets": (
        "late:classification",
        "convert_3y:classification",
        "convert_3y_atrophy:classification",
        "convert_3y_neovascular:classification",
        "va:regression",
    ),
    "data.time_unit": "years",
    "data.image_size": 64,
    "data.phantom.kind": "retina",
    "data.phantom.subjects": 1000,
    "data.phantom.size": 64,
    "data.phantom.nuisance": "mild",
    "clips.frames": 8,
    "clips.stride": 1,
    "clips.sampling": "newest",
    "clips.drop": 0.5,
    "train.capacities": 8,
    "augment.rotation": 5.0,
    "augment.crop": (0.1, 1.0),
    "augment.vflip": 0.0,  # depth has a direction
    "augment.brightness": 0.6,
    "augment.contrast": 0.8,
    "augment.blur_sigma": (0.1, 1.0),
    # The dates of the visits find a patient's other view among 32 in 9 of 10 draws; moved like
    # this, with `clips.drop`, in 1 of 10, which is what the pace alone gives. Stronger noise would
    # hide what separates fast from slow.
    "augment.time_scale": 0.25,
    "augment.time_jitter": 0.1,
    "augment.interval_scale": 0.6,
    "model.image_size": 64,
    "model.input_mean": 0.25,
    "model.input_std": 0.23,
}

# Short-axis cine MRI, 2 subjects. Every slice has its own trigger times, in a table of slices.
SUNNYBROOK = {
    "data.csv": "slice_timing.csv",
    "data.subject_csv": "manifest.csv",
    "data.columns.path": "nifti/{subject}_sa.nii.gz",
    "data.columns.slice": "slice",
    "data.columns.times": "trigger_times_ms",
    "data.column_unit": "ms",
    "data.pixel_mm": 1.5,
    "data.fit": "crop",
    "model.input_mean": 0.18,
    "model.input_std": 0.19,
    "train.batch_size": 16,
}

# One untouched slice of one of the two subjects: the other one's missing folder is skipped, and
# listed. Times are the files' TriggerTime.
SUNNYBROOK_DICOM = {
    "data.csv": "manifest.csv",
    "data.columns.path": "dicom/{subject}_slice",
    "data.on_bad": "skip",
    "data.pixel_mm": 1.5,
    "data.fit": "crop",
    "model.input_mean": 0.2,
    "model.input_std": 0.15,
    "train.batch_size": 8,
}

SUNNYBROOK_NPZ = {
    "data.csv": "manifest.csv",
    "data.columns.path": "compact/{subject}.npz",
    "data.pixel_mm": 1.5,
    "data.fit": "crop",
    "model.input_mean": 0.17,
    "model.input_std": 0.21,
    "train.batch_size": 16,
}

LUNG_ULTRASOUND = {
    "data.csv": "clips.csv",
    "data.columns.subject": "patient",
    "data.columns.path": "file",
    "data.targets": ("label:classification",),
    "augment.vflip": 0.0,  # depth has a direction
    "model.input_mean": 0.23,
    "model.input_std": 0.24,
    "train.batch_size": 8,
}

# A folder of echo cines without any table: each file is a series of its own subject.
ECHO = {
    "data.csv": "*.dcm",
    "data.fit": "crop",
    "augment.vflip": 0.0,
    "model.input_mean": 0.09,
    "model.input_std": 0.17,
    "train.batch_size": 8,
}

# Dated chest radiographs: the last visits of a patient are one series.
HANNOVER_CXR = {
    "data.csv": "images.csv",
    "data.columns.subject": "patient_id",
    "data.columns.path": "image",
    "data.columns.time": "day",
    "data.targets": ("sex:classification",),
    "data.split_seed": 3,  # the first with two of each sex among the 4 patients of val and of test
    "data.time_unit": "days",
    "data.on_equal_times": "keep",  # two images of one day, and no others, are a patient's visit
    "clips.sampling": "newest",
    "clips.stride": 1,
    "train.capacities": 4,
    "augment.vflip": 0.0,
    "augment.time_jitter": 0.1,
    "model.input_mean": 0.62,
    "model.input_std": 0.21,
    "train.batch_size": 16,
}

# Two dated FLAIR volumes of one patient: every slice is a series of two visits.
MS_BRAIN = {
    "data.csv": "manifest.csv",
    "data.columns.subject": "patient_id",
    "data.columns.path": "image",
    "data.columns.times": "{day_0} {day_1}",
    "data.time_unit": "days",
    "clips.frames": 2,
    "clips.sampling": "newest",
    "clips.stride": 1,
    "augment.time_jitter": 0.1,
    "model.input_mean": 0.13,
    "model.input_std": 0.26,
    "train.batch_size": 16,
}

PRESETS = {
    "own": {},
    "phantom_cardiac": PHANTOM_CARDIAC,
    "phantom_retina": PHANTOM_RETINA,
    "sunnybrook": SUNNYBROOK,
    "sunnybrook_dicom": SUNNYBROOK_DICOM,
    "sunnybrook_npz": SUNNYBROOK_NPZ,
    "lung_ultrasound": LUNG_ULTRASOUND,
    "echo": ECHO,
    "hannover_cxr": HANNOVER_CXR,
    "ms_brain": MS_BRAIN,
}


def apply(config: ConfigDict, name: str) -> ConfigDict:
    """Changes `config` to the cohort `name` and returns it; UserError for an unknown name."""
    if name not in PRESETS:
        raise UserError(f'there is no cohort preset "{name}".{nearest(name, PRESETS)}')
    config.data.cohort = name
    config.update_from_flattened_dict(PRESETS[name])
    return config
