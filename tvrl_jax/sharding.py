"""How arrays lie on devices: meshes, shardings, and which rows a process has."""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from tvrl_jax.errors import UserError

AXIS = "data"
MIN_SHARDED_SIZE = 2**14  # smaller leaves stay whole: spreading them costs more than it saves


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """One axis over every device of every process, the devices of a process side by side; or over
    these devices alone.

    So process i's rows are the i-th block of a batch, as they would be on one device;
    `jax.make_mesh` may arrange the devices of a TPU otherwise.
    """
    found = jax.devices() if devices is None else devices
    devices = sorted(found, key=lambda device: (device.process_index, device.id))
    # Auto axes: on Explicit ones z @ z.T of two sharded operands is refused.
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def connect(mesh: Mesh) -> None:
    """Joins the devices of all processes, each of which must call it at about the same time.

    On CPU the first collective of a set of devices waits 30 seconds for all of them, and no longer.
    Without this it is that of the first step, which one process may have compiled minutes earlier.
    """
    if jax.process_count() > 1:
        ones = np.ones(jax.local_device_count(), np.float32)
        spread = jax.make_array_from_process_local_data(over_batch(mesh), ones)
        jax.block_until_ready(jax.jit(lambda x: x.sum(), out_shardings=replicated(mesh))(spread))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P())


def over_batch(mesh: Mesh) -> NamedSharding:
    """Leading axis spread over the devices."""
    return NamedSharding(mesh, P(AXIS))


def state_shardings(mesh: Mesh, abstract, kind: str):
    """A sharding for each leaf of the state: `data` = whole everywhere, `full` = spread."""
    if kind == "data":
        return jax.tree.map(lambda _: replicated(mesh), abstract)
    if kind == "full":
        return jax.tree.map(lambda leaf: _spread(mesh, leaf.shape), abstract)
    raise UserError(f'train.sharding = "{kind}": say "data" or "full".')


def _spread(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """The largest axis that the devices divide."""
    if np.prod(shape, initial=1) >= MIN_SHARDED_SIZE:
        for axis in np.argsort(shape)[::-1]:
            if shape[axis] % mesh.size == 0:
                return NamedSharding(mesh, P(*[None] * axis, AXIS))
    return replicated(mesh)


def check_batch_size(batch_size: int, micro_batches: int) -> None:
    """Raises UserError unless every device gets the same number of series in each micro-batch."""
    devices, processes = jax.device_count(), jax.process_count()
    if jax.local_device_count() * processes != devices:
        raise UserError(
            f"process {jax.process_index()} has {jax.local_device_count()} of {devices} devices: "
            f"each of the {processes} processes needs as many."
        )
    parts = devices * micro_batches
    if batch_size % parts:
        lower = batch_size // parts * parts
        fits = " or ".join(str(n) for n in (lower, lower + parts) if n)
        each = f" x {micro_batches} micro-batches" if micro_batches > 1 else ""
        raise UserError(
            f"train.batch_size = {batch_size} does not divide among {devices} devices{each}: "
            f"use {fits}."
        )


def put(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's rows -> arrays of the global batch, spread over the devices."""
    sharding = over_batch(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def gathered(tree):
    """Parameters as they are used: each whole on every device of `jax.set_mesh`, wherever it rests.

    Left to itself the compiler sends activations to spread weights where those are larger.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return tree
    return jax.lax.with_sharding_constraint(tree, P())


def platform() -> str:
    """cpu, gpu or tpu: that of the devices of `jax.set_mesh`, or else of those that JAX uses."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device.platform if device else jax.default_backend()


def is_spread() -> bool:
    """Whether the rows of a batch lie on several devices, those of `jax.set_mesh`.

    Within a mesh of other axes they do not: none of those is known to be of the batch.
    """
    return jax.sharding.get_abstract_mesh().shape.get(AXIS, 1) > 1


def over_devices(function: Callable, *rows):
    """`function(*rows, axis=...)` on every device with its own rows, leading axis, of the batch.

    rows, and what comes back: pytrees of arrays with one leading axis, spread over the devices.
    `axis` is the name by which they reach each other. Which devices: those of `jax.set_mesh`;
    without a mesh there is one and `axis` is None. Not to be differentiated through.
    """
    if not is_spread():
        return function(*rows, axis=None)
    # Every result is spread, so there is no claim of equal copies that would have to be checked.
    return jax.shard_map(
        functools.partial(function, axis=AXIS),
        in_specs=P(AXIS),
        out_specs=P(AXIS),
        check_vma=False,
    )(*rows)


def replicate(value: np.ndarray, mesh: Mesh) -> jax.Array:
    """A host value that every process has alike -> an array that is whole on every device."""
    return jax.make_array_from_process_local_data(replicated(mesh), value)


def process_suffix() -> str:
    """What tells the files of several processes apart; empty where there is one."""
    count = jax.process_count()
    return f"-of-process-{jax.process_index()}-of-{count}" if count > 1 else ""


def is_main_process() -> bool:
    return jax.process_index() == 0
