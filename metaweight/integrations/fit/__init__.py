"""``metaweight.fit``: one call from data with wrong labels to a model, weights and suspects."""

from metaweight.integrations.fit.call import fit
from metaweight.integrations.fit.result import Fit

__all__ = ["Fit", "fit"]
