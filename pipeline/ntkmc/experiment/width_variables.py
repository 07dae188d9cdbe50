"""Variables of the groups `finite_width` and `convergence`: networks of finite width beside the limit."""

from __future__ import annotations

from typing import Final

from ntkmc.experiment.variables import DEEP, NAN, STATUS, Variable

WIDE: Final = (*DEEP, "width")
WIDE_DRAW: Final = (*WIDE, "trial")

_OF_NETWORK: Final = {
    "lambda_min": "smallest eigenvalue of the network's tangent kernel",
    "deviation": "operator norm of the network's tangent kernel less its limit",
    "entry_deviation": "largest absolute entry of the network's tangent kernel less its limit",
    "data_norm": "largest eigenvalue of X X'",
    "kernel_norm": "largest eigenvalue of the limiting kernel's Gram matrix",
}

_SUCCESS: Final = {
    "norm": "P(|network's kernel - limit| <= lambda_min / 4)",
    "eigenvalue": "P(lambda_min of the network's kernel >= 3/4 lambda_min)",
}

DRAWN: Final = (
    Variable("", "lambda_min", WIDE_DRAW, "f8", NAN, "1", _OF_NETWORK["lambda_min"]),
    *(
        Variable("", f"{name}_{end}", WIDE_DRAW, "f8", NAN, "1", f"proved {end} bound on the {sentence}")
        for name, sentence in _OF_NETWORK.items()
        for end in ("lower", "upper")
    ),
    Variable("", "status", WIDE_DRAW, "i1", 0, "1", "how the trial ended", STATUS),  # last, as above
)

ESTIMATED: Final = (
    Variable("", "trials_used", WIDE, "i8", 0, "trials", "length of the prefix that these estimates rest on"),
    Variable("", "lambda_min_median", WIDE, "f8", NAN, "1", f"median of the {_OF_NETWORK['lambda_min']}"),
    Variable("", "deviation_median", WIDE, "f8", NAN, "1", f"median of the {_OF_NETWORK['deviation']}"),
    *(
        Variable(
            "", f"deviation_median_{end}", WIDE, "f8", NAN, "1", f"its {end} confidence limit, for all widths at once"
        )
        for end in ("lower", "upper")
    ),
    *(
        variable
        for name, sentence in _SUCCESS.items()
        for variable in (
            Variable("", f"{name}_share", WIDE, "f8", NAN, "1", f"share of trials for {sentence}"),
            Variable(
                "",
                f"{name}_share_lower",
                WIDE,
                "f8",
                NAN,
                "1",
                f"lower end of the confidence sequence for {sentence}",
            ),
            Variable(
                "",
                f"{name}_share_upper",
                WIDE,
                "f8",
                NAN,
                "1",
                f"upper end of the confidence sequence for {sentence}",
            ),
            Variable(
                "",
                f"{name}_width",
                DEEP,
                "f8",
                NAN,
                "1",
                f"least tried width from which on the share for {sentence} is at least 1 - delta; NaN: none",
            ),
            Variable(
                "",
                f"{name}_width_lower",
                DEEP,
                "f8",
                NAN,
                "1",
                f"largest tried width at which {sentence} is proved to be below 1 - delta, for all tried widths at "
                "once; 0: none",
            ),
            Variable(
                "",
                f"{name}_width_upper",
                DEEP,
                "f8",
                NAN,
                "1",
                f"least tried width from which on {sentence} is proved to be at least 1 - delta, for all tried widths "
                "at once; inf: none",
            ),
        )
    ),
    Variable("", "printed_width", DEEP, "f8", NAN, "1", "n^6 / lambda_0^4, lambda_0 the median of lambda_min"),
    Variable("", "exponent", DEEP, "f8", NAN, "1", "exponent of the median deviation in the width"),
    Variable("", "exponent_lower", DEEP, "f8", NAN, "1", "its lower confidence limit"),
    Variable("", "exponent_upper", DEEP, "f8", NAN, "1", "its upper confidence limit"),
)
