"""What the header of a file claims, held against what the file can hold, before memory is taken."""

from tvrl_jax.errors import UserError

# A packed file may become this large whatever its size: room for a volume of labels, which packs to
# next to nothing, and little enough for any machine.
SMALL = 96 << 20  # bytes
# Beyond, it may become so many times larger: images of bodies pack 2 to 50 times, and what packs
# far better is damaged, or made to fill memory.
RATIO = 100
SHOWN = 1 << 80  # bytes; a damaged header may claim a number of thousands of digits


def check_claim(path: str, claimed: int, available: int) -> None:
    """`claimed` bytes of pixels in the header against the bytes that are there."""
    if claimed > available:
        raise UserError(
            f"{path} cannot be read: its header claims {min(claimed, SHOWN):,} bytes of pixels and "
            f"the file can hold {available:,}: it is damaged or cut short."
        )


def room(size: int) -> int:
    """Bytes that a packed file of `size` bytes may become."""
    return SMALL + RATIO * size


def check_packed(path: str, claimed: int, size: int) -> None:
    """`claimed` bytes, unpacked, against a packed file, or files, of `size` bytes."""
    if claimed > room(size):
        raise UserError(
            f"{path} cannot be read: it claims {_binary(min(claimed, SHOWN))} and takes "
            f"{_binary(size)} on the disk: it is damaged or made to fill memory; an image that "
            f"really packs more than {RATIO}-fold can be stored unpacked."
        )


def _binary(count: int) -> str:
    if count < 1 << 20:
        return f"{count / 1024:.1f} KiB"
    return f"{count / (1 << 30):,.2f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.1f} MiB"
