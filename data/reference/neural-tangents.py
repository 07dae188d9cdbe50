"""Make `neural-tangents.json`: kernels of the library neural-tangents at small data, in float64.

Needs neural-tangents 0.6.5, its last release, and what that release works with, in an environment of its own:

    python3.11 -m venv nt
    nt/bin/pip install neural-tangents==0.6.5 jax==0.4.23 jaxlib==0.4.23 'numpy<2' 'scipy<1.13'
    nt/bin/python data/reference/neural-tangents.py

The table in the repository was made with Python 3.11, jax and jaxlib 0.4.23, numpy 1.26.4, scipy 1.12.0, on a CPU.
Data are closed forms, no random generator, and are written into the table.
"""

from __future__ import annotations

import json
import math
import platform
import re
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from neural_tangents import stax

jax.config.update("jax_enable_x64", True)  # before first use: otherwise everything is float32

TABLE = Path(__file__).with_suffix(".json")
PACKAGES = ("neural-tangents", "jax", "jaxlib", "numpy", "scipy")
WIDTH = 1  # of a layer: in the parameterization "ntk" the infinite-width kernel does not depend on it
DEEP = {
    **{f"all W_std = sqrt(2), L = {L}": (math.sqrt(2.0),) * L for L in (2, 3, 4, 5)},
    "a W_std per layer, L = 3": (1.0, 1.3, 0.7),
}
TWO_LAYER = {"Dense and Relu, W_std = 1": 1.0, "Dense and Relu, W_std = 1.3": 1.3}


def spiral(n: int) -> np.ndarray:
    """n unit rows on a spiral over the sphere in three dimensions."""
    z = 1.0 - (2.0 * np.arange(n) + 1.0) / n
    azimuth = math.pi * (3.0 - math.sqrt(5.0)) * np.arange(n)
    return np.column_stack([np.sqrt(1.0 - z * z) * np.cos(azimuth), np.sqrt(1.0 - z * z) * np.sin(azimuth), z])


def data_sets() -> dict[str, np.ndarray]:
    """Rows by name; those whose name starts with "unit" are unit vectors."""
    i, j = np.indices((7, 5))
    opposite = np.array([[3.0, 4.0, 0.0, 0.0], [0.0, 1.0, -2.0, 2.0], [0.5, 0.25, -1.0, 2.0]])
    turn = np.array([0.0, 1e-3, 1e-2, 0.1, math.pi - 1e-3])
    cone = np.column_stack([np.cos(turn), 0.6 * np.sin(turn), 0.8 * np.sin(turn)])
    return {
        "eighths": ((7 * i * i + 3 * i * j * j + 5 * j + 11) % 17 - 8) / 8.0,
        "norms from 1e-3 to 1e3": spiral(7) * 10.0 ** np.arange(-3.0, 4.0)[:, None],
        "opposite rows": np.vstack([opposite, -opposite, 3.0 * opposite[:1], -0.1 * opposite[1:2]]),
        "nearly parallel rows": np.column_stack([np.cos(turn), np.sin(turn)]) * np.array([[1], [2], [1], [0.3], [5]]),
        "unit spiral": spiral(8),
        "unit, nearly parallel and opposite": np.vstack([cone, -cone[:1]]),
    }


def kernel(X: np.ndarray, stds: tuple[float, ...], *, relu_last: bool) -> list[list[float]]:
    """NTK of Dense, Relu, Dense, ..., one Dense for each of `stds`; a Relu after the last one too if asked for."""
    layers = []
    for std in stds:
        layers += [stax.Dense(WIDTH, W_std=std, b_std=0.0, parameterization="ntk"), stax.Relu()]
    _, _, kernel_fn = stax.serial(*(layers if relu_last else layers[:-1]))
    K = np.asarray(kernel_fn(X, None, "ntk"))
    assert K.dtype == np.float64, "64-bit mode is off"
    return K.tolist()


def main() -> None:
    """Write the table, one matrix row a line; `json` writes a float by `repr`, which gives back the same float64."""
    sets = data_sets()
    table = {
        "made by": "data/reference/neural-tangents.py",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "data": {name: X.tolist() for name, X in sets.items()},
        "kernels": [
            {
                "architecture": name,
                "W_std": list(stds),
                "relu last": relu_last,
                "data": data,
                "ntk": kernel(X, stds, relu_last=relu_last),
            }
            for architectures, relu_last in ((DEEP, False), ({k: (w,) for k, w in TWO_LAYER.items()}, True))
            for name, stds in architectures.items()
            for data, X in sets.items()
        ],
    }
    text = json.dumps(table, indent=1, allow_nan=False)
    TABLE.write_text(re.sub(r"\[([^\[\]]*)\]", lambda row: f"[{' '.join(row[1].split())}]", text) + "\n")


if __name__ == "__main__":
    main()
