"""Windows whose frames stand in another order, or at other times."""

import numpy as np

from tvrl_jax.probing.windows import Windows

ORDER = ("shuffled", "reversed")  # the frames move, the times stay where they are
TIMES = ("times blank", "times scaled")  # the frames stay
CHANGES = (*ORDER, *TIMES)


def change(table: Windows, what: str, *, scale: float, seed: int) -> Windows:
    """The windows with one of CHANGES made. Padding keeps its place.

    shuffled: a random order that is not the true one. times blank: all 0. times scaled: x `scale`.
    A window of one frame cannot be reordered and stays as it is.
    """
    if what == "times blank":
        return table._replace(time_WT=np.zeros_like(table.time_WT))
    if what == "times scaled":
        return table._replace(time_WT=np.float32(scale) * table.time_WT)
    place_WT = _reverse(table.valid_WT) if what == "reversed" else _shuffle(table.valid_WT, seed)
    return table._replace(frame_WT=np.take_along_axis(table.frame_WT, place_WT, axis=1))


def _reverse(valid_WT: np.ndarray) -> np.ndarray:
    place_T = np.arange(valid_WT.shape[1])
    return np.where(valid_WT, valid_WT.sum(1, keepdims=True) - 1 - place_T, place_T)


def _shuffle(valid_WT: np.ndarray, seed: int) -> np.ndarray:
    """Padding is at the right, so the valid frames are permuted among the first places."""
    key_WT = np.random.default_rng(seed).random(valid_WT.shape)
    place_T = np.arange(valid_WT.shape[1])
    place_WT = np.argsort(np.where(valid_WT, key_WT, 1 + place_T), axis=1)
    count_W1 = valid_WT.sum(1, keepdims=True)
    next_WT = np.where(valid_WT, (place_T + 1) % np.maximum(count_W1, 1), place_T)
    unmoved_W1 = (place_WT == place_T).all(1, keepdims=True)
    return np.where(unmoved_W1, next_WT, place_WT)
