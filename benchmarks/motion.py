"""How much of what the spatial encoder sees is motion.

    python -m benchmarks.motion --checkpoint=RUN

Takes the features of every frame of some test series and splits their variance: between series,
and within a series, over time. An encoder that tells series apart by what stands still has next to
none within. Also the share of the features' power that lies in their common mean: a cosine as high
as that is reached by predicting the mean.
"""

import argparse

import numpy as np

from tvrl_jax import settings
from tvrl_jax.checkpoint import restore_for_reading
from tvrl_jax.data import opening
from tvrl_jax.probing import features, pretrained


def frames_of(checkpoint: str, series: int) -> list[np.ndarray]:
    """Features [frames, D] of each of the first test series."""
    restored = restore_for_reading(checkpoint, pretrained.GROUPS, "newest")
    pretraining = settings.from_json(restored.meta["config"])
    store = opening.open_cohort(pretraining.data)
    encoder = pretrained.encoder(restored, pretraining)
    chosen = store.split("test")[:series]
    feature_FD = features.frame_features(encoder, store, chosen, batch_size=256)
    ends = np.cumsum([store.series[i].frames for i in chosen])[:-1]
    return np.split(feature_FD, ends)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", nargs="+", required=True, help="run folders")
    parser.add_argument("--series", type=int, default=40)
    args = parser.parse_args()
    for checkpoint in args.checkpoint:
        parts = frames_of(checkpoint, args.series)
        whole_FD = np.concatenate(parts)
        weight = [len(part) / len(whole_FD) for part in parts]
        variances = [part.var(0).sum() for part in parts]
        within = np.dot(weight, variances) / whole_FD.var(0).sum()
        common = np.square(whole_FD.mean(0)).sum() / np.square(whole_FD).sum(1).mean()
        print(f"{checkpoint}: {within:.2f} of the variance within a series; "
              f"{common:.2f} of the power in the common mean")  # fmt: skip


if __name__ == "__main__":
    main()
