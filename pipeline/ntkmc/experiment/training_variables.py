"""Variables of the groups about training: `training` and `prediction`, by the kernel; `trained` and `dynamics`."""

from __future__ import annotations

from typing import Final

from ntkmc.experiment.variables import DEEP, NAN, STATUS, Variable

TARGET: Final = (*DEEP, "target")
TARGET_DRAW: Final = (*TARGET, "trial")
NETWORK: Final = (*DEEP, "network")
NETWORK_DRAW: Final = (*NETWORK, "trial")


def _real(name: str, dims: tuple[str, ...], sentence: str) -> Variable:
    return Variable("", name, dims, "f8", NAN, "1", sentence)


def _ends(name: str, dims: tuple[str, ...], sentence: str) -> tuple[Variable, ...]:
    return tuple(_real(f"{name}_{end}", dims, f"{end} bound on {sentence}") for end in ("lower", "upper"))


def _estimate(name: str, dims: tuple[str, ...], sentence: str) -> tuple[Variable, ...]:
    limits = tuple(_real(f"{name}_{end}", dims, f"its {end} confidence limit") for end in ("lower", "upper"))
    return (_real(name, dims, sentence), *limits)


PREDICTED: Final = (
    _real("step_size", TARGET_DRAW, "eta"),
    _real("label_norm", TARGET_DRAW, "|y|"),
    *_ends("label_energy", TARGET_DRAW, "y'Ky, proved"),
    *_ends("label_form", TARGET_DRAW, "y'K^-1 y, proved; inf where K is not definite beyond rounding"),
    *_ends("lambda_max", TARGET_DRAW, "the largest eigenvalue of K, proved"),
    *_ends("steps", TARGET_DRAW, "the least k with |y - u(k)| <= |y| / (10 n), up to rounding; inf: none"),
    _real(
        "regression_loss",
        TARGET_DRAW,
        "mean over test rows of min(1, |f(x) - y|), f the kernel regression; inf where K or the law does not allow it",
    ),
    *_ends("residual", (*TARGET_DRAW, "step"), "|y - u(k)| under gradient descent with the kernel, up to rounding"),
    *_ends("flow", (*TARGET_DRAW, "step"), "|y - u(t)| under gradient flow at t = eta k, up to rounding"),
    Variable("", "status", TARGET_DRAW, "i1", 0, "1", "how the trial ended", STATUS),  # last: a trial is done by it
)

OF_TARGETS: Final = (
    Variable("", "trials_used", TARGET, "i8", 0, "trials", "length of the prefix that these estimates rest on"),
    *_estimate("bound", TARGET, "median of (2 y'K^-1 y / n)^(1/2), which bounds the test loss where K is H-infinity"),
    *_estimate("steps", TARGET, "median of the least k with |y - u(k)| <= |y| / (10 n)"),
    *_estimate("steps_share", TARGET, "median of that k times eta lambda_min / log(10 n), at most 1 up to one step"),
    *_estimate("regression_loss", TARGET, "mean test loss of kernel regression, min(1, |f(x) - y|)"),
    _real("residual", (*TARGET, "step"), "median of |y - u(k)| / |y| under gradient descent with the kernel"),
    _real("flow", (*TARGET, "step"), "median of |y - u(t)| / |y| under gradient flow at t = eta k"),
)

TRAINED: Final = (
    _real("step_size", NETWORK_DRAW, "eta"),
    _real("start", NETWORK_DRAW, "|u(0)| / |y|, u the network's outputs"),
    _real("gap", NETWORK_DRAW, "largest | |y - u(k)| - what the kernel predicts from output 0 | / |y| over all steps"),
    _real("gap_started", NETWORK_DRAW, "the same with what the kernel predicts from the network's own start u(0)"),
    _real("contraction", NETWORK_DRAW, "largest |y - u(k+1)|^2 / |y - u(k)|^2 over all steps"),
    _real("drift", NETWORK_DRAW, "|H_T - H_0| / |H_0| in Frobenius norm, H_t the network's kernel along training"),
    _real("test_loss", NETWORK_DRAW, "mean over test rows of min(1, |f(x) - y|); inf where the law has no more rows"),
    _real("residual", (*NETWORK_DRAW, "step"), "|y - u(k)|; inf beyond the last step"),
    Variable("", "status", NETWORK_DRAW, "i1", 0, "1", "how the trial ended", STATUS),
)

_SLOPES: Final = {
    "gap": "gap to the prediction from output 0",
    "gap_started": "gap to the prediction from the network's own start",
    "drift": "drift of the kernel",
}

OF_NETWORKS: Final = (
    Variable("", "trials_used", NETWORK, "i8", 0, "trials", "length of the prefix that these estimates rest on"),
    *(each for name, words in _SLOPES.items() for each in _estimate(name, NETWORK, f"median {words}")),
    *_estimate("test_loss", NETWORK, "mean test loss of the trained network, min(1, |f(x) - y|)"),
    *_estimate(
        "contraction_share",
        NETWORK,
        "share of trials in which |y - u|^2 shrinks by 1 - eta lambda_min / 2 in every step",
    ),
    *_estimate(
        "contraction_width",
        NETWORK,
        "least tried width from which on that share is 1 - delta; of networks with the same labels and scale",
    ),
    _real("residual", (*NETWORK, "step"), "median of |y - u(k)| / |y|"),
    *(
        each
        for name, words in _SLOPES.items()
        for axis in ("width", "kappa")
        for each in _estimate(
            f"{name}_{axis}",
            NETWORK,
            f"exponent in {axis} of the median {words}, over the networks that are trained on the same labels",
        )
    ),
)
