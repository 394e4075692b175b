"""Learning rules: pure functions from a batch to an Outcome, and the one place that lists them."""

from tvrl_jax.objectives import causal, contrastive, ltn, supervised, tvrl, videomae
from tvrl_jax.objectives.outcome import Objective, Outcome

__all__ = ["OBJECTIVES", "Objective", "Outcome"]

OBJECTIVES: dict[str, Objective] = {
    "cvrl": Objective(contrastive.loss, ("projection",), views=2, windows=2),
    "ltn": Objective(ltn.loss, ("projection", "ltn"), views=2, windows=2),
    "videomae": Objective(videomae.loss, ("mae",), views=1, windows=1),
    "csimclr": Objective(contrastive.loss, ("projection",), views=2, windows=1),
    "csimclr_te": Objective(contrastive.loss, ("projection",), views=2, windows=1),
    "tvrl": Objective(tvrl.loss, ("projection", "token"), views=2, windows=1),
    "causal": Objective(causal.loss, ("projection", "token"), views=2, windows=1),
    "supervised": Objective(supervised.loss, ("head",), views=1, windows=1),
}
