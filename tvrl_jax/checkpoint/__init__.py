"""Checkpoints: state, configuration and a checksum of every leaf. The only home of Orbax."""

from tvrl_jax.checkpoint.reading import restore_for_reading
from tvrl_jax.checkpoint.saving import Checkpoints
from tvrl_jax.checkpoint.whole import Restored, checksums

__all__ = ["Checkpoints", "Restored", "checksums", "restore_for_reading"]
