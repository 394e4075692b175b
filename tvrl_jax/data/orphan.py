"""A worker process does not outlive the process that started it."""

import ctypes
import os
import signal
import sys


def end_with(parent: int) -> None:
    """Called in a child of `parent`: a killed parent runs no clean-up of its own, so the kernel is
    asked to end the child with it (Linux)."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it had died before the kernel was asked
        os._exit(1)
