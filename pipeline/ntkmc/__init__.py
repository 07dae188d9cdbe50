"""ntkmc: distributed Monte Carlo for the smallest eigenvalue of Neural Tangent Kernel Gram matrices.

Every lambda_min has a rigorous enclosure, every probability has a confidence interval that is valid under repeated
looks at the data, and every theorem is tested on the data. Start with `lambda_min` on your own data, or with
`load_study` and `run`.
"""

from importlib.metadata import PackageNotFoundError, version

from ntkmc import statistics
from ntkmc.api import lambda_min, run
from ntkmc.errors import ExecutionError, InputError, NtkmcError, StoreError
from ntkmc.experiment.store import open_results
from ntkmc.experiment.study import Study, load_study
from ntkmc.linalg.eigen import Eigenvalue, Enclosed, Spectrum, Status, event_holds, smallest_eigenvalue
from ntkmc.linalg.eigen.spectrum import spectrum
from ntkmc.linalg.gram import Eigenvalues, gram, grams, kernel_eigenvalues, kernel_spectrum
from ntkmc.linalg.gram.eigenvalues import eigenvalues
from ntkmc.linalg.networks import TrainedNetwork, TrainingPrediction, predict_training, train
from ntkmc.linalg.networks.empirical_ntk import empirical_ntk
from ntkmc.linalg.sketching import compare_features, ntk_features
from ntkmc.theory.claims import claims
from ntkmc.theory.distributions import Distribution, check_distribution, sample
from ntkmc.theory.distributions.hypotheses import Hypotheses

try:
    __version__ = version("ntkmc")
except PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "Distribution",
    "Eigenvalue",
    "Eigenvalues",
    "Enclosed",
    "ExecutionError",
    "Hypotheses",
    "InputError",
    "NtkmcError",
    "Spectrum",
    "Status",
    "StoreError",
    "Study",
    "TrainedNetwork",
    "TrainingPrediction",
    "__version__",
    "check_distribution",
    "claims",
    "compare_features",
    "eigenvalues",
    "empirical_ntk",
    "event_holds",
    "gram",
    "grams",
    "kernel_eigenvalues",
    "kernel_spectrum",
    "lambda_min",
    "load_study",
    "ntk_features",
    "open_results",
    "predict_training",
    "run",
    "sample",
    "smallest_eigenvalue",
    "spectrum",
    "statistics",
    "train",
]
