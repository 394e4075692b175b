"""How tests compile: carelessly. Compiling is nearly all of the suite's time, and a nano program
gains nothing from what careful compiling takes its time for."""

from importlib import metadata

OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
# What two programs have in common, they may round differently. Later versions have no such choice.
UNALIKE = {"xla_cpu_use_fusion_emitters": False}
HAS_CHOICE = tuple(map(int, metadata.version("jaxlib").split(".")[:2])) < (0, 11)


def flags(devices: int = 1, *, alike: bool = False) -> str:
    """$XLA_FLAGS of a process that is to have so many devices.

    alike: for a program with a fault that is held to one without, bit for bit."""
    chosen = OPTIONS | (UNALIKE if HAS_CHOICE and not alike else {})
    options = [f"--{name}={str(value).lower()}" for name, value in chosen.items()]
    return " ".join([f"--xla_force_host_platform_device_count={devices}", *options])
