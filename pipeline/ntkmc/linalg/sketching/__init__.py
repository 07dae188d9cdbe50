"""Feature maps whose Gram matrix approximates a kernel: arc-cosine random features, count and tensor sketches, their
accuracy and their cost.

May import `networks`, `gram` and `eigen`.
"""

from ntkmc.linalg.sketching.comparison import compare_features, measure_features
from ntkmc.linalg.sketching.cost import feature_bytes, feature_flops, feature_seconds, kernel_flops
from ntkmc.linalg.sketching.features import ntk_features

__all__ = [
    "compare_features",
    "feature_bytes",
    "feature_flops",
    "feature_seconds",
    "kernel_flops",
    "measure_features",
    "ntk_features",
]
