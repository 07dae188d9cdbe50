"""Variables of the groups `sketching` and `sketch_accuracy`: Gram matrices of feature maps beside their kernel."""

from __future__ import annotations

from typing import Final

from ntkmc.experiment.variables import DEEP, NAN, STATUS, Variable

SKETCHED: Final = (*DEEP, "features")
SKETCHED_DRAW: Final = (*SKETCHED, "trial")

_OF_SKETCH: Final = {
    "lambda_min": "smallest eigenvalue of the feature map's Gram matrix",
    "deviation": "operator norm of the feature map's Gram matrix less the kernel's",
    "entry_deviation": "largest absolute entry of the feature map's Gram matrix less the kernel's",
    "kernel_norm": "largest eigenvalue of the kernel's Gram matrix",
}

_SUCCESS: Final = {
    "norm": "P(|feature map's Gram matrix - kernel's| <= lambda_min / 4)",
    "eigenvalue": "P(lambda_min of the feature map's Gram matrix >= 3/4 lambda_min)",
}


def _over(name: str, dims: tuple[str, ...], sentence: str) -> Variable:
    return Variable("", name, dims, "f8", NAN, "1", sentence)


DRAWN: Final = (
    _over("lambda_min", SKETCHED_DRAW, _OF_SKETCH["lambda_min"]),
    *(
        _over(f"{name}_{end}", SKETCHED_DRAW, f"proved {end} bound on the {sentence}")
        for name, sentence in _OF_SKETCH.items()
        for end in ("lower", "upper")
    ),
    Variable("", "status", SKETCHED_DRAW, "i1", 0, "1", "how the trial ended", STATUS),
)

ESTIMATED: Final = (
    Variable("", "trials_used", SKETCHED, "i8", 0, "trials", "length of the prefix that these estimates rest on"),
    _over("lambda_min_median", SKETCHED, f"median of the {_OF_SKETCH['lambda_min']}"),
    _over("deviation_median", SKETCHED, f"median of the {_OF_SKETCH['deviation']}"),
    *(
        _over(f"deviation_median_{end}", SKETCHED, f"its {end} confidence limit, for all numbers of features at once")
        for end in ("lower", "upper")
    ),
    _over("relative_median", SKETCHED, f"median of the {_OF_SKETCH['deviation']}, over the kernel's own"),
    *(
        _over(f"{name}_quantile", (*SKETCHED, "quantile"), f"quantiles of the {_OF_SKETCH[name]}")
        for name in ("deviation", "entry_deviation")
    ),
    *(
        variable
        for name, sentence in _SUCCESS.items()
        for variable in (
            _over(f"{name}_share", SKETCHED, f"share of trials for {sentence}"),
            *(
                _over(f"{name}_share_{end}", SKETCHED, f"{end} end of the confidence sequence for {sentence}")
                for end in ("lower", "upper")
            ),
            _over(
                f"{name}_features",
                DEEP,
                f"least tried number of features from which on the share for {sentence} is at least 1 - delta; NaN: "
                "none",
            ),
            _over(
                f"{name}_features_lower",
                DEEP,
                f"largest tried number of features at which {sentence} is proved to be below 1 - delta, for all tried "
                "numbers at once; 0: none",
            ),
            _over(
                f"{name}_features_upper",
                DEEP,
                f"least tried number of features from which on {sentence} is proved to be at least 1 - delta, for all "
                "tried numbers at once; inf: none",
            ),
        )
    ),
    _over("exponent", DEEP, "exponent of the median deviation in the number of features"),
    _over("exponent_lower", DEEP, "its lower confidence limit"),
    _over("exponent_upper", DEEP, "its upper confidence limit"),
)
