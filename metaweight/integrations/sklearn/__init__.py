"""Estimators of scikit-learn that learn a weight for each training row from a few trusted ones."""

from metaweight.integrations.sklearn.classifier import ReweightedClassifier
from metaweight.integrations.sklearn.regressor import ReweightedRegressor

__all__ = ["ReweightedClassifier", "ReweightedRegressor"]
