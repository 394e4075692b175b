"""How tests compile: carelessly. Compiling is nearly all of the suite's time, and a nano program
gains nothing from what careful compiling takes its time for."""

from importlib import metadata

OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
if tuple(map(int, metadata.version("jaxlib").split(".")[:2])) < (0, 11):
    OPTIONS["xla_cpu_use_fusion_emitters"] = False  # later versions have no such choice


def flags(devices: int = 1) -> str:
    """$XLA_FLAGS of a process that is to have so many devices."""
    options = [f"--{name}={str(value).lower()}" for name, value in OPTIONS.items()]
    return " ".join([f"--xla_force_host_platform_device_count={devices}", *options])
