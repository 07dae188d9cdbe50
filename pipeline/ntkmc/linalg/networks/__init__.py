"""Networks of finite width: their weights, their empirical tangent kernel, and training as the kernel predicts it and
as it happens.

May import `gram` and `eigen`.
"""

from ntkmc.linalg.networks.training import TrainedNetwork, TrainingPrediction, predict_training, train
from ntkmc.linalg.networks.weights import LARGEST_WIDTH, Weights

__all__ = [
    "LARGEST_WIDTH",
    "TrainedNetwork",
    "TrainingPrediction",
    "Weights",
    "predict_training",
    "train",
]
