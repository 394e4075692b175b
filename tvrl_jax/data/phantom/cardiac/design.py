"""Who is in which split and who has which disease, balanced in blocks of 20 subjects."""

from typing import NamedTuple

from tvrl_jax.data.phantom.streams import DESIGN, stream

# Subjects per block: (split, size, with coronary disease, with atrial fibrillation).
PARTS = (("train", 14, 5, 3), ("val", 3, 1, 1), ("test", 3, 1, 1))
BLOCK = sum(size for _, size, _, _ in PARTS)


class Assignment(NamedTuple):
    split: str
    cad: bool
    af: bool


def block(seed: int, number: int) -> list[Assignment]:
    """The 20 assignments of one block: 70/15/15 %, 35 % CAD, 25 % AF, the diseases independent.

    Balancing keeps both classes in every split of a small cohort; a block depends on nothing but
    (seed, number), so a longer cohort starts with the shorter one.
    """
    rng = stream(seed, DESIGN, number)
    rows = []
    for split, size, cads, afs in PARTS:
        cad, af = rng.permutation(size) < cads, rng.permutation(size) < afs
        rows += [Assignment(split, bool(c), bool(a)) for c, a in zip(cad, af, strict=True)]
    return [rows[i] for i in rng.permutation(BLOCK)]


def assign(seed: int, index: int) -> Assignment:
    """The assignment of one subject."""
    return block(seed, index // BLOCK)[index % BLOCK]
