"""Cost of a trial as a function of its sizes: memory in bytes and approximate time in seconds.

Memory bounds the number of trials that run at the same time, and is checked against the operating system in
`tests/linalg/test_memory.py`. Time only orders and divides the work. It was fitted to one thread of a 2.6 GHz server
core with OpenBLAS. On one thread of a 2.3 GHz Xeon, for n = 30 ... 1500, the measured processor time was 0.24 to 2.3
times the predicted time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ntkmc.linalg.eigen.krylov import MOST_INVERSE_STEPS, MOST_STEPS
from ntkmc.linalg.eigen.symmetric import KEPT
from ntkmc.linalg.networks.empirical_ntk import BLOCK
from ntkmc.linalg.networks.weights import STREAM
from ntkmc.theory.claims.trial_statistics import LARGEST_SPECTRUM

_BUFFERS: Final = (13 * 2**20, 8 * 640)
"""Bytes a + b n of packed panels of the BLAS, and of memory that the allocator keeps. Measured from the peak of the
resident set with OpenBLAS on one thread, n = 1500 ... 8000."""

_SECONDS: Final = (1.5e-4, 7e-9, 1.25e-11)
"""Seconds of one enclosure, a + b n**2 + c n**3. Fitted for n = 16 ... 2000; `tests/benchmarks/smallest_eigenvalue.py`
measures it."""

_EVENT: Final = {1: 0.5, 2: 0.85}
"""Time of deciding an event without an enclosure, by number of thresholds, in units of an enclosure."""

_SECONDS_ENTRY: Final = 3e-8
"""Seconds per pair of rows and layer of the recursion (`tests/benchmarks/gram.py`). Ten random variates take the same
time."""

_SECONDS_NEURON: Final = (3e-11, 3e-9, 1e-8)
"""Seconds per neuron of a wide network: per pair of rows, per row, and per weight, for drawing it. A product with a
weight takes 1/200 of the latter."""


def trial_bytes(
    n: int, d: int, depths: Sequence[int], *, thresholds: int = 0, eigenproblems: float = 0.0, spectrum: bool = False
) -> int:
    """Return the peak memory of one trial above an idle worker, in bytes.

    `lambda_min` by the method `auto` takes the same for data (n, d).

    Parameters
    ----------
    n, d : int
        Shape of the data rows.
    depths : sequence of int
    thresholds : int
        Number of thresholds if only events are decided; 0 if lambda_min is enclosed.
    eigenproblems : float
        Number of additional eigenvalue problems, which claims need. They are solved one after the other.
    spectrum : bool
        Whether all eigenvalues are computed, up to the order `LARGEST_SPECTRUM`.

    Examples
    --------
    >>> trial_bytes(1000, 100, (3,)) / 2**20
    30.6849365234375
    """
    event_alone = thresholds in _EVENT and not eigenproblems
    # The workspace of the previous trial, which `symmetric.scratch_buffer` keeps. An event within rounding of a
    # threshold takes as much memory as lambda_min, but is so rare that no memory is set aside for it.
    kept = 4 * n * n if 4 * n * n <= KEPT and not event_alone else 0
    drawing = 16 * n * d + kept  # the rows, twice
    # The Gram matrix takes the place of the cosines at the last depth, and the factor that of its upper triangle.
    matrices = 8 * n * n * (1 if len(set(depths)) == 1 and not eigenproblems else 2)
    # The matrix in float32, and the basis of Lanczos.
    proposal = 0 if event_alone else 4 * n * n + 4 * (MOST_STEPS + MOST_INVERSE_STEPS) * n
    if spectrum and n <= LARGEST_SPECTRUM:
        proposal = max(proposal, 32 * n * n)  # eigenvectors, the workspace of LAPACK, and residuals
    return max(drawing, 8 * n * d + matrices + proposal) + library_bytes(n)


def network_bytes(n: int, d: int, kernel: str, depths: Sequence[int], width: int) -> int:
    """Return the peak memory of one trial of networks of one width above an idle worker, in bytes.

    Examples
    --------
    >>> network_bytes(500, 50, "h-infinity", (2,), 10**6) < 50 * 2**20
    True
    """
    deepest = max(depths)
    # Two layers are processed in blocks of neurons. Deeper networks hold the activations or derivatives of two layers,
    # the gates and the Gram matrix of each layer, and the weights of one run of neurons.
    block = min(width, BLOCK) * (8 * d + (9 if kernel == "h-infinity" else 17) * n)
    layers = (15 + deepest) * n * width + 8 * STREAM * width + 8 * n * n * deepest if deepest > 2 else 0
    # The matrices of the limit and of the network, their difference, and the workspace of an enclosure.
    matrices = 8 * n * n * (5 if len(set(depths)) > 1 else 4)
    proposal = 4 * n * n + 4 * (MOST_STEPS + MOST_INVERSE_STEPS) * n
    return 16 * n * d + matrices + max(block, layers, proposal) + library_bytes(n)


def trial_seconds(n: int, d: int, depths: Sequence[int], *, thresholds: int = 0, eigenproblems: float = 0.0) -> float:
    """Return the rough wall time of one trial on one core in seconds, good to a factor of a few."""
    eigenvalues = (len(depths) * _EVENT.get(thresholds, 1.0) + eigenproblems) * enclosure_seconds(n)
    recursion = 0.5 * n * n * (max(depths) * _SECONDS_ENTRY + 4e-10 * d)  # with the product of the rows
    return eigenvalues + recursion + 0.1 * _SECONDS_ENTRY * 10 * n * d


def network_seconds(n: int, d: int, depths: Sequence[int], width: int) -> float:
    """Return the rough wall time of one trial of networks of one width on one core in seconds."""
    # Per depth: lambda_min, the largest eigenvalue, and two ends of a norm; once the norm of the data.
    enclosures = (4 * len(depths) + 1) * enclosure_seconds(n)
    layer = width * (_SECONDS_NEURON[0] * n * n + _SECONDS_NEURON[1] * n + _SECONDS_NEURON[2] * d * (1.0 + 0.005 * n))
    hidden = sum(2 * (depth - 2) for depth in depths) * width * width * _SECONDS_NEURON[2] * (1.0 + 0.005 * n)
    return float(enclosures + layer * sum(max(depth - 1, 1) for depth in depths) + hidden)


def training_bytes(n: int, d: int, depths: Sequence[int], test: int) -> int:
    """Return the peak memory of predicting training in one trial, with `test` test rows, above an idle worker."""
    cross = 8 * test * n * len(set(depths))  # the kernel between test rows and rows, at each depth
    both = 16 * (n + test) * (n + test + d)  # before: the Gram matrix of rows and test rows
    return max(trial_bytes(n, d, depths) + 12 * n * n, both) + cross + library_bytes(n + test)


def training_seconds(n: int, d: int, depths: Sequence[int], test: int) -> float:
    """Return the rough wall time of predicting training in one trial on one core in seconds."""
    constant, square, cube = _SECONDS
    # The quadrature takes many small steps: its constant overhead is set to eight times that of an enclosure.
    enclosures = 4 * len(depths) * (8.0 * constant + square * n**2 + cube * n**3)
    return float(enclosures + _SECONDS_ENTRY * max(depths) * (n + test) ** 2 / 2)


def descent_bytes(n: int, d: int, width: int) -> int:
    """Return the peak memory of training a network in one trial above an idle worker, in bytes."""
    return 8 * width * (4 * n + 4 * d) + training_bytes(n, d, (2,), 256)


def descent_seconds(n: int, d: int, width: int, steps: int) -> float:
    """Return the rough wall time of training a network in one trial on one core in seconds."""
    # A step draws no random numbers: passes over the activations, and two products. Two predictions go with it.
    return steps * width * n * (2e-9 + 2e-10 * d) + 2.0 * training_seconds(n, d, (2,), 256)


def enclosure_seconds(n: int) -> float:
    """Return the rough wall time of one enclosure at order n, in seconds."""
    constant, square, cube = _SECONDS
    return constant + square * n**2 + cube * n**3


def library_bytes(n: int) -> int:
    """Return the memory of packed panels of the BLAS, and of what the allocator keeps, at order n, in bytes."""
    constant, per_row = _BUFFERS
    return constant + per_row * n
