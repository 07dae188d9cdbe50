"""Cost of a trial as a function of its sizes: memory in bytes and approximate time in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ntkmc.linalg.eigen.krylov import MOST_INVERSE_STEPS, MOST_STEPS
from ntkmc.linalg.eigen.symmetric import KEPT
from ntkmc.linalg.networks.empirical_ntk import BLOCK
from ntkmc.linalg.networks.weights import STREAM
from ntkmc.theory.claims.trial_statistics import LARGEST_SPECTRUM

_BUFFERS: Final = (13 * 2**20, 8 * 640)
"""Bytes a + b n of a BLAS's packed panels and of what the allocator keeps: measured with OpenBLAS on one thread,
n = 1500 ... 8000."""

_SECONDS: Final = (1.5e-4, 7e-9, 1.25e-11)
"""Seconds of one enclosure as a + b n**2 + c n**3: fitted to one thread of a 2.6 GHz server core, n = 16 ... 2000."""

_EVENT: Final = {1: 0.5, 2: 0.85}
"""The event alone, by the number of thresholds, in units of an enclosure."""

_SECONDS_ENTRY: Final = 3e-8
"""Seconds of one layer of the recursion for one pair, and ten random numbers."""


_SECONDS_NEURON: Final = (3e-11, 3e-9, 1e-8)
"""Seconds of a neuron for a pair of rows, for a row, and for one of its weights, drawn; a product with a weight takes
a two hundredth of that."""


def trial_bytes(
    n: int, d: int, depths: Sequence[int], *, thresholds: int = 0, further: float = 0.0, spectrum: bool = False
) -> int:
    """Peak memory of one trial above an idle worker, in bytes; `lambda_min` on data (n, d) by `auto` takes the same.

    While drawing: the rows twice. Later the unit rows, and the Gram matrix, which the cosines turn into at the last
    depth (a second array before it), and whose one triangle gives way to the factor; the matrix in float32 and the
    basis of Lanczos, unless events alone are decided for one or two `thresholds` (0: lambda_min itself is enclosed);
    one in a great many of them is within rounding, and takes what lambda_min takes. `further` eigenvalue problems,
    which claims may need, are solved one after the other, beside the cosines or from them anew. With `spectrum` all
    eigenvectors, LAPACK's workspace, and what bounds their error; of matrices that are not too large for it.

    Examples
    --------
    >>> trial_bytes(1000, 100, (3,)) / 2**20
    30.6849365234375
    """
    event_alone = thresholds in _EVENT and not further
    kept = 4 * n * n if 4 * n * n <= KEPT and not event_alone else 0  # left by the trial before: `symmetric.borrowed`
    drawing = 16 * n * d + kept
    matrices = 8 * n * n * (1 if len(set(depths)) == 1 and not further else 2)
    proposal = 0 if event_alone else 4 * n * n + 4 * (MOST_STEPS + MOST_INVERSE_STEPS) * n
    if spectrum and n <= LARGEST_SPECTRUM:
        proposal = max(proposal, 32 * n * n)
    return max(drawing, 8 * n * d + matrices + proposal) + library_bytes(n)


def network_bytes(n: int, d: int, kernel: str, depths: Sequence[int], width: int) -> int:
    """Peak memory of one trial of networks of a width above an idle worker, in bytes.

    Of two layers a block of neurons is held; of deeper ones the activations or derivatives of two layers, the gates
    and the Gram matrix of each, and the weights of a run of neurons. Beside them the limit's matrix and the network's,
    their difference, and what an enclosure takes.

    Examples
    --------
    >>> network_bytes(500, 50, "h-infinity", (2,), 10**6) < 50 * 2**20
    True
    """
    deepest = max(depths)
    block = min(width, BLOCK) * (8 * d + (9 if kernel == "h-infinity" else 17) * n)
    layers = (15 + deepest) * n * width + 8 * STREAM * width + 8 * n * n * deepest if deepest > 2 else 0
    matrices = 8 * n * n * (5 if len(set(depths)) > 1 else 4)
    proposal = 4 * n * n + 4 * (MOST_STEPS + MOST_INVERSE_STEPS) * n
    return 16 * n * d + matrices + max(block, layers, proposal) + library_bytes(n)


def eigenvalue_bytes(n: int, method: str = "auto") -> int:
    """Peak memory of `smallest_eigenvalue` beside its argument, by method.

    One array takes the factor, and the float32 matrix before; an LU (`eigsh`) needs another one.
    """
    return (16 if method == "eigsh" else 8) * n * n + library_bytes(n)


def trial_seconds(n: int, d: int, depths: Sequence[int], *, thresholds: int = 0, further: float = 0.0) -> float:
    """Rough wall time of one trial on one core, good to a factor of a few; only ever used to order and to cut work."""
    eigenvalues = (len(depths) * _EVENT.get(thresholds, 1.0) + further) * enclosure_seconds(n)
    recursion = 0.5 * n * n * (max(depths) * _SECONDS_ENTRY + 4e-10 * d)
    return eigenvalues + recursion + 0.1 * _SECONDS_ENTRY * 10 * n * d


def network_seconds(n: int, d: int, depths: Sequence[int], width: int) -> float:
    """Rough wall time of one trial of networks of a width on one core, good to a factor of a few."""
    enclosures = (4 * len(depths) + 1) * enclosure_seconds(n)
    layer = width * (_SECONDS_NEURON[0] * n * n + _SECONDS_NEURON[1] * n + _SECONDS_NEURON[2] * d * (1.0 + 0.005 * n))
    hidden = sum(2 * (depth - 2) for depth in depths) * width * width * _SECONDS_NEURON[2] * (1.0 + 0.005 * n)
    return float(enclosures + layer * sum(max(depth - 1, 1) for depth in depths) + hidden)


def training_bytes(n: int, d: int, depths: Sequence[int], test: int) -> int:
    """Peak memory of one trial's prediction of training above an idle worker, in bytes.

    That of lambda_min, the basis of Lanczos, and the kernel between test rows and rows at each depth; before it the
    Gram matrix of both.
    """
    cross = 8 * test * n * len(set(depths))
    before = 16 * (n + test) * (n + test + d)
    return max(trial_bytes(n, d, depths) + 12 * n * n, before) + cross + library_bytes(n + test)


def training_seconds(n: int, d: int, depths: Sequence[int], test: int) -> float:
    """Rough wall time of one trial's prediction of training on one core, good to a factor of a few."""
    constant, square, cube = _SECONDS
    enclosures = 4 * len(depths) * (8.0 * constant + square * n**2 + cube * n**3)
    return float(enclosures + _SECONDS_ENTRY * max(depths) * (n + test) ** 2 / 2)


def descent_bytes(n: int, d: int, width: int) -> int:
    """Peak memory of one trial of a network that is trained above an idle worker, in bytes."""
    return 8 * width * (4 * n + 4 * d) + training_bytes(n, d, (2,), 256)


def descent_seconds(n: int, d: int, width: int, steps: int) -> float:
    """Rough wall time of one trial of a network that is trained on one core, good to a factor of a few."""
    return steps * width * n * (2e-9 + 2e-10 * d) + 2.0 * training_seconds(n, d, (2,), 256)


def enclosure_seconds(n: int) -> float:
    """Rough wall time of one enclosure at order n."""
    constant, square, cube = _SECONDS
    return constant + square * n**2 + cube * n**3


def library_bytes(n: int) -> int:
    """Packed panels of the BLAS, and what the allocator keeps, at order n."""
    constant, each = _BUFFERS
    return constant + each * n
