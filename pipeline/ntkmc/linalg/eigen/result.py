"""Results for a smallest eigenvalue: estimate, enclosure and status."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


class Status(enum.Enum):
    """Status of the computation of a smallest eigenvalue. The value is the advice to the user.

    Attributes
    ----------
    code : int
        Integer in the store's `status` variable; 0 is kept for "not run".
    """

    _value_: str
    code: int

    def __new__(cls, code: int, advice: str) -> Status:
        """Create a member with its code, whose value is the advice."""
        member = object.__new__(cls)
        member._value_ = advice
        member.code = code
        return member

    # Codes are written into stores: never change one, and give a new member a new code.
    CERTIFIED = 1, "the enclosure is as narrow as asked"
    WIDE = (
        2,
        "the enclosure is valid but wider than rtol: the rounding of K's entries, or of the bound itself, limits it; "
        "ask for a larger rtol, or look at lower and upper",
    )
    SINGULAR = (
        3,
        "zero lies in the enclosure, or within rounding of it: look for duplicate or dependent rows, "
        "or for n beyond the rank that the kernel can have",
    )
    NOT_PSD = 4, "K has a negative eigenvalue, proved: it is not a Gram matrix; check how it was built"
    UNRESOLVED = (
        5,
        "only a crude enclosure could be proved: no method found a good vector; the bounds are valid, "
        "look at lower and upper, and please report the matrix",
    )
    FAILED = 6, "the trial raised a numerical error and has no value; recompute it alone with `ntkmc trial`"
    CLUSTERED = (
        7,
        "the enclosure is valid but wider than rtol: the next eigenvalue is within rounding of the smallest, so that "
        "only the allowance of a Cholesky, about (n/2) u trace(K), could be proved; look at lower and upper",
    )
    DECIDED = (
        8,
        "only the event was asked for: lower and upper are what was proved on the way to deciding it; "
        "a study with `measure: lambda-min` encloses lambda_min itself",
    )
    UPPER_ONLY = (
        9,
        "upper is proved, lower is not: no factorization was spent on it, and lower is only what every kernel matrix "
        "keeps to; ask with certificate=True for both",
    )


@dataclass(frozen=True)
class Bracket:
    """Bounds lower <= lambda_min <= upper proved while deciding an event; there is no estimate.

    Attributes
    ----------
    lower, upper : float
        The highest threshold that lambda_min is proved to reach (or 0), and the lowest quotient seen.
    """

    lower: float
    upper: float
    value: float = field(default=math.nan, init=False)
    status: Status = field(default=Status.DECIDED, init=False)


@dataclass(frozen=True)
class Eigenvalue:
    """The smallest eigenvalue of a symmetric matrix, enclosed.

    Attributes
    ----------
    value : float
        Best estimate, inside [lower, upper].
    lower, upper : float
        lower <= lambda_min <= upper is a theorem, rounding included; both are finite.
    status : Status
        Status of the computation; `status.value` is the advice.
    method : str
        Method that computed the eigenvector: `dense`, `eigsh`, `lobpcg`, `cholesky`;
        `a+b` if b had to improve the vector of a.
    iterations : int
        Matrix-vector products or solves of the iterative part, 0 for `dense`.
    residual : float
        |K v - value v| for the unit vector v behind `upper`.
    vector : ndarray, (n,)
        That vector, an approximate eigenvector; of any length.
    """

    value: float
    lower: float
    upper: float
    status: Status
    method: str
    iterations: int
    residual: float
    vector: NDArray[np.float64] = field(repr=False, compare=False)

    @property
    def relative_width(self) -> float:
        """(upper - lower) / |value|; infinite where value is 0 and the enclosure is not a point."""
        width = self.upper - self.lower
        if width == 0.0:
            return 0.0
        return width / abs(self.value) if self.value != 0.0 else float("inf")
