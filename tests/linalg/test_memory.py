"""The memory model against the peak that the system reports."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ntkmc.linalg.cost import descent_bytes, library_bytes, network_bytes, training_bytes, trial_bytes
from ntkmc.linalg.sketching.cost import feature_bytes

CHILD = """
import json, sys
import numpy as np
from ntkmc.experiment.trial.run import run_trial, single_thread
from ntkmc.experiment.trial.draw import TrialConfig
from ntkmc.linalg.gram.enclosures import lambda_min
from ntkmc.linalg.eigen.smallest import smallest_eigenvalue
from ntkmc.theory.claims.trial_statistics import SPECTRUM, required
from ntkmc.theory.distributions import build

kind, law, n, d, depths, method = json.loads(sys.argv[1])

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

statistics = required(SPECTRUM if kind == "spectrum" else ())
config = TrialConfig(1, "ntk", "mean", thresholds=(0.1,) if kind == "event" else (), statistics=statistics)
with single_thread():
    # Compiled code and buffers of the libraries belong to the idle part of a worker.
    run_trial(config, build(law, trusted=True), 8, 64, [2, 3], 0)
    K = np.eye(64)
    if kind == "matrix":
        X = np.random.default_rng(0).standard_normal((n, d))
        K = X @ X.T / d + np.eye(n)
        del X
        smallest_eigenvalue(K[:64, :64].copy(), method=method)
    X = np.random.default_rng(0).standard_normal((n, d)) if kind == "data" else None
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = peak()
    if kind == "matrix":
        for _ in range(2):
            smallest_eigenvalue(K, method=method)
    elif kind == "data":
        lambda_min(X, "ntk", depths)
    else:
        for trial in range(2):
            run_trial(config, build(law, trusted=True), d, n, depths, trial)
print(peak() - before)
"""

CASES = [
    ("trial", "gaussian", 3000, 300, (3,), "auto"),
    ("trial", "sphere", 3000, 300, (2, 3), "auto"),
    ("trial", "rademacher", 2500, 2500, (2,), "auto"),
    ("trial", {"student-t": {"df": 3}}, 1500, 6000, (3,), "auto"),
    ("event", "gaussian", 3000, 300, (3,), "auto"),
    ("spectrum", "sphere", 1000, 100, (2, 3), "auto"),
    ("data", "gaussian", 3000, 300, (2, 3), "auto"),
    *(("matrix", "gaussian", 3000, 300, (), method) for method in ("auto", "dense", "eigsh", "lobpcg")),
]


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[5]}-{case[2]}x{case[3]}-{len(case[4])}")
def test_prediction_is_above_the_peak_and_not_far(case: tuple[str, object, int, int, tuple[int, ...], str]) -> None:
    kind, _, n, d, depths, method = case
    child = subprocess.run([sys.executable, "-c", CHILD, json.dumps(case)], capture_output=True, text=True, check=True)
    measured = int(child.stdout)
    whole = trial_bytes(n, d, depths, thresholds=int(kind == "event"), spectrum=kind == "spectrum")
    if kind == "matrix":  # one array for the factor, and the float32 matrix before; another for the LU of `eigsh`
        whole = (16 if method == "eigsh" else 8) * n * n + library_bytes(n)
    assert measured <= whole <= 1.3 * measured, (measured, whole)


NETWORKS = [
    ("h-infinity", 500, 50, (2,), 1_000_000),
    ("ntk", 500, 50, (2,), 100_000),
    ("ntk", 2500, 50, (2,), 5_000),
    ("ntk", 600, 50, (3,), 4096),
    ("ntk", 300, 50, (5,), 2048),
]

FEATURES = [
    ("ntk", 1500, 50, (3,), 2000, "random-features"),
    ("ntk", 1500, 50, (2, 3), 2000, "tensor-sketch"),
]

BESIDE_CHILD = """
import json, sys
from ntkmc.experiment.trial.measurements import MEASURE
from ntkmc.experiment.trial.draw import TrialConfig, TrialContext
from ntkmc.experiment.trial.run import single_thread
from ntkmc.theory.distributions import build

kernel, n, d, depths, value, *method = json.loads(sys.argv[1])
kind = "sketching" if method else "finite_width"

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

config = TrialConfig(1, kernel, "unit", method=method[0] if method else "")
with single_thread():  # first a small one: compiled code, buffers of the libraries
    MEASURE[kind](TrialContext(config, build("gaussian", trusted=True), d, 64, depths, 0), 64)
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = peak()
    MEASURE[kind](TrialContext(config, build("gaussian", trusted=True), d, n, depths, 0), value)
print(peak() - before)
"""


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: f"{case[0]}-{case[1]}-m{case[4]}")
def test_networks_take_what_is_predicted_whatever_their_width(
    case: tuple[str, int, int, tuple[int, ...], int],
) -> None:
    kernel, n, d, depths, width = case
    child = subprocess.run(
        [sys.executable, "-c", BESIDE_CHILD, json.dumps(case)], capture_output=True, text=True, check=True
    )
    measured = int(child.stdout)
    predicted = network_bytes(n, d, kernel, depths, width)
    assert measured <= predicted <= 1.6 * measured + 2**24  # buffers that a library may hold already
    if n == 500:
        assert measured < 200 * 2**20
        assert predicted == network_bytes(n, d, kernel, depths, 10**9)


TRAINED = [
    ("training", 1500, 50, "random-sign@0.9"),  # too large a step: Lanczos goes on to the end
    ("trained", 200, 50, "linear:m=20000:kappa=1.0"),
]

TRAINED_CHILD = """
import json, sys
from ntkmc.experiment.trial.measurements import MEASURE
from ntkmc.experiment.trial.draw import TrialConfig, TrialContext
from ntkmc.experiment.trial.run import single_thread
from ntkmc.theory.distributions import build

kind, n, d, value = json.loads(sys.argv[1])

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

config = TrialConfig(1, "h-infinity", "unit", steps=3)
with single_thread():  # first a small one: compiled code, buffers of the libraries
    small = value.replace("20000", "8")
    MEASURE[kind](TrialContext(config, build("gaussian", trusted=True), d, 64, (2,), 0), small)
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = peak()
    MEASURE[kind](TrialContext(config, build("gaussian", trusted=True), d, n, (2,), 0), value)
print(peak() - before)
"""


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
@pytest.mark.parametrize("case", TRAINED, ids=lambda case: f"{case[0]}-{case[1]}")
def test_training_takes_what_is_predicted(case: tuple[str, int, int, str]) -> None:
    kind, n, d, _ = case
    child = subprocess.run(
        [sys.executable, "-c", TRAINED_CHILD, json.dumps(case)], capture_output=True, text=True, check=True
    )
    predicted = training_bytes(n, d, (2,), 256) if kind == "training" else descent_bytes(n, d, 20_000)
    assert int(child.stdout) <= predicted <= 1.6 * int(child.stdout)


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
@pytest.mark.parametrize("case", FEATURES, ids=lambda case: case[5])
def test_feature_maps_take_what_is_predicted(case: tuple[str, int, int, tuple[int, ...], int, str]) -> None:
    child = subprocess.run(
        [sys.executable, "-c", BESIDE_CHILD, json.dumps(case)], capture_output=True, text=True, check=True
    )
    kernel, n, d, depths, features, method = case
    assert int(child.stdout) <= feature_bytes(n, d, kernel, depths, features, method) <= 1.6 * int(child.stdout)


def test_more_of_anything_takes_more() -> None:
    least = trial_bytes(1000, 100, (2,))
    for other in (
        trial_bytes(1001, 100, (2,)),
        trial_bytes(1000, 101, (2,)),
        trial_bytes(1000, 100, (2, 3)),
    ):
        assert other > least
    assert trial_bytes(1000, 100, (2, 2)) == least
    assert trial_bytes(1000, 100, (2,), thresholds=1) < least
