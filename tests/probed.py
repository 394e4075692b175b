"""A probe of an encoder and a store in memory, checked, planned and run as `probe.py` does it."""

from tvrl_jax.probing import check, suite
from tvrl_jax.probing.temporal import suite as temporal


def run(encoder, store, config, folder, say) -> suite.Results:
    """Of a kind that predicts labels."""
    _check(config)
    return suite.run(suite.plan(encoder, store, config, say), folder)


def run_temporal(encoder, store, config, folder, say) -> temporal.Results:
    """Without the network's own exercise."""
    _check(config)
    return temporal.run(temporal.plan(encoder, store, config, say), None, folder)


def _check(config) -> None:
    check.config(config)
    check.cache(config)
