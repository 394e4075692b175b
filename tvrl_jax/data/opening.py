"""From a configuration to a packed cohort: a synthetic one is written first, where it is absent."""

from tvrl_jax.data import phantom
from tvrl_jax.data.pack import open_store
from tvrl_jax.data.store import Store


def open_cohort(data) -> Store:
    """The cohort of a configuration's `data` section, decoded once.

    Raises:
      UserError: what is wrong with the table, a file or the folder.
    """
    if data.phantom.kind:
        phantom.write(data.root, **data.phantom)
    return open_store(**data)
