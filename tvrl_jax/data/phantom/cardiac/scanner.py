"""From signal to stored numbers: k-space shared between beats, Rician noise, 16 bits."""

import numpy as np


def interleaved(beat_BTHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary picture [T, H, W] when beat b of 4 gives the k-space rows b, b+4, ...

    Taking every fourth row of one beat's transform and of the next beat's in between equals, by
    the shift theorem, four copies of the picture moved by quarters of the field along y:
    sum over s of roll(1/4 sum over b of i^(b s) picture_b, s H/4). The unmoved copy is the mean of
    the beats (blur); the others hold only what differs between beats (ghosts).
    """
    b0, b1, b2, b3 = beat_BTHW
    quarter = b0.shape[-2] // 4
    even, odd = b0 + b2, b1 + b3
    x, y = (b0 - b2) / 4, (b1 - b3) / 4
    real = (even + odd) / 4 + np.roll((even - odd) / 4, 2 * quarter, axis=-2)
    real += np.roll(x, quarter, axis=-2) + np.roll(x, 3 * quarter, axis=-2)
    return real, np.roll(y, quarter, axis=-2) - np.roll(y, 3 * quarter, axis=-2)


def magnitude(real, imaginary, noise: float, rng: np.random.Generator) -> np.ndarray:
    """|signal + complex normal noise|: Rician (Gudbjartsson and Patz 1995, MRM 34:910)."""
    if noise:
        real = real + np.float32(noise) * rng.standard_normal(real.shape, np.float32)
        imaginary = imaginary + np.float32(noise) * rng.standard_normal(real.shape, np.float32)
    return np.sqrt(real * real + imaginary * imaginary)


def stored(signal: np.ndarray, gain: float) -> np.ndarray:
    """Rounded int16, never negative."""
    return np.clip(np.rint(signal * np.float32(gain)), 0, 32767).astype(np.int16)
