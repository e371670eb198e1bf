"""scikit-learn estimators: `SFFAClassifier` and `FFAClassifier`.

They classify rows of features of any scale, transform them to hidden activities, learn new classes
with `partial_fit` from a bounded replay buffer, and save and load without pickle.
"""

from sffa_jax.sklearn.estimators import FFAClassifier, SFFAClassifier

__all__ = ["FFAClassifier", "SFFAClassifier"]
