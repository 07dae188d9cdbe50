"""Data sets as distributions: rows of a file, drawn without replacement."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ntkmc.errors import InputError
from ntkmc.numeric import Matrix
from ntkmc.theory.distributions.base import Distribution, register
from ntkmc.theory.distributions.hypotheses import Hypotheses

_FORMATS = ".npy, .npz, .csv, .parquet, .zarr"


@register
@dataclass(frozen=True)
class Dataset(Distribution):
    """Rows of a file, drawn uniformly without replacement.

    The law is identified by the content of the array, not by the path: the same numbers in another place or format
    have the same address. One column, counted from 0, may hold labels; it is then not part of the rows.
    """

    name: ClassVar[str] = "dataset"
    example: ClassVar[Mapping[str, int | float | str] | None] = None
    path: str
    content: str = field(default="", repr=False)
    column: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", str(resolved(self.path)))
        if not self.content:
            object.__setattr__(self, "content", _digest(self.path))
        if self.column is not None:
            columns = _load(self.path).shape[1]
            whole = isinstance(self.column, int) and not isinstance(self.column, bool)
            if not whole or columns < 2 or not 0 <= self.column < columns:
                raise InputError(
                    f"dataset {self.path}: column must be an integer from 0 to {columns - 1}, with another beside it, "
                    f"got {self.column!r}"
                )

    def parameters(self) -> dict[str, int | float | str]:
        """Return the hash of the content, and the column of labels if there is one."""
        column: dict[str, int | float | str] = {} if self.column is None else {"column": self.column}
        return column | {"content": self.content}

    @property
    def rows(self) -> Matrix:
        """Rows of the file without the labels, (rows, d), read once per process; `InputError` if it changed."""
        whole = self._whole()
        return whole if self.column is None else _without(self.path, self.column)

    def _whole(self) -> Matrix:
        if _digest(self.path) != self.content:
            raise InputError(f"dataset {self.path}: its content has changed since the study began")
        return _load(self.path)

    def check(self, n: int, d: int) -> None:
        available, columns = self.rows.shape
        if d != columns:
            raise InputError(f"dataset {self.path} has {columns} columns: d must be {columns}, got {d}")
        if n > available:
            raise InputError(f"dataset {self.path} has {available} rows: n must be at most {available}, got {n}")

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Return the first n rows of a random permutation of all rows."""
        return self.rows[rng.permutation(len(self.rows))[:n]].copy()

    def labels(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Return the labels of the rows that `sample` draws, scaled to mean square 1 over the file."""
        # The base class raises the error of a law without labels.
        if self.column is None:
            return super().labels(n, d, rng)
        values = self._whole()[:, self.column]
        size = float(np.sqrt(np.mean(values**2)))
        if not 0.0 < size < np.inf:
            raise InputError(f"dataset {self.path}: column {self.column} has root mean square {size:g}: no labels")
        # The same permutation as in `sample`, from a generator in the same state.
        return np.asarray(values[rng.permutation(len(values))[:n]] / size)

    def second_moment(self, d: int) -> float:
        with np.errstate(over="ignore"):
            moment = float(np.mean(np.sum(self.rows**2, axis=1)))
        if not 0.0 < moment < np.inf:
            raise InputError(
                f"dataset {self.path}: its mean squared norm is {moment:g}, so normalize: mean is not defined; "
                "rescale the data, or use normalize: unit or none"
            )
        return moment

    def hypotheses(self, d: int) -> Hypotheses:
        """Return no hypothesis; rows drawn without replacement are dependent."""
        return Hypotheses(independent_rows=False)

    def stored(self, spec: Any) -> Any:
        """Return the entry with the absolute path and the hash of the content."""
        column = {} if self.column is None else {"column": self.column}
        return {self.name: {"path": self.path, "content": self.content, **column}}

    def zero_row(self) -> int | None:
        """Return the index of the first row of zeros, or None."""
        zero = ~self.rows.any(axis=1)
        return int(np.argmax(zero)) if zero.any() else None


def resolved(path: str, base: Path | None = None) -> Path:
    """Return the absolute path, relative to a base folder and with `~` expanded; `InputError` for an unusable path."""
    try:
        return ((base or Path.cwd()) / Path(path).expanduser()).resolve()
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"dataset {path[:80]!r}: not a usable path ({error})") from error


@lru_cache(maxsize=8)
def _without(path: str, column: int) -> Matrix:
    """Return the array of a file without one of its columns (read-only)."""
    rows = np.ascontiguousarray(np.delete(_load(path), column, axis=1))
    rows.setflags(write=False)
    return rows


def load_vectors(path: str) -> Matrix:
    """Return the vectors in a file of any format of `dataset`, one per row; a single column is one vector."""
    rows = _load(str(resolved(path)), True)
    return np.ascontiguousarray(rows.T) if rows.shape[1] == 1 else rows


@lru_cache(maxsize=8)
def _load(path: str, vector: bool = False) -> Matrix:
    """Return the array of a file as float64 (read-only); with `vector`, a one-dimensional array is one row."""
    file = Path(path)
    try:
        if not file.exists():
            raise InputError(f"dataset {path}: no such file")
        raw = _read(file)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"dataset {path}: not a readable {file.suffix} file ({error})") from error
    if vector and raw.ndim == 1:
        raw = raw[None, :]
    if raw.ndim != 2 or 0 in raw.shape or raw.dtype.kind not in "fiub":
        raise InputError(
            f"dataset {path}: must hold one two-dimensional array of real numbers, "
            f"got shape {raw.shape}, dtype {raw.dtype}"
        )
    rows = np.ascontiguousarray(raw, dtype=np.float64)
    # A missing value would make every kernel entry of its row NaN: better to refuse the file than each trial.
    bad = ~np.isfinite(rows)
    if bad.any():
        i, j = (int(k[0]) for k in np.nonzero(bad))
        raise InputError(f"dataset {path}: row {i}, column {j} is {rows[i, j]}; remove or impute it")
    rows.setflags(write=False)
    return rows


def _read(file: Path) -> np.ndarray[Any, np.dtype[Any]]:
    match file.suffix:
        case ".npy":
            return np.asarray(np.load(file, allow_pickle=False))
        case ".npz":
            with np.load(file, allow_pickle=False) as archive:
                if len(archive.files) != 1:
                    raise InputError(f"dataset {file}: must hold one array, it holds {len(archive.files)}")
                return np.asarray(archive[archive.files[0]])
        case ".csv":
            with file.open(encoding="utf-8") as lines:
                headed = _is_header(lines.readline())
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # NumPy only warns of a file without data
                return np.loadtxt(file, delimiter=",", skiprows=int(headed), ndmin=2, encoding="utf-8")
        case ".parquet":  # optional dependencies are imported where they are needed
            import pandas as pd

            try:
                return np.asarray(pd.read_parquet(file).to_numpy())
            except ImportError as error:
                raise InputError(f"dataset {file}: needs pyarrow: pip install 'ntkmc[parquet]'") from error
        case ".zarr":
            import zarr

            return np.asarray(zarr.open_array(file, mode="r")[:])
    raise InputError(f"dataset {file}: unknown format {file.suffix!r}, valid: {_FORMATS}")


def _is_header(line: str) -> bool:
    """Return whether a first line is a header: every field is non-empty and not a number."""
    # A sign or a point begins a number: a line that mixes names and numbers fails as data, with NumPy's message.
    return all(re.match(r"[^\d\s+\-.]", field.strip().strip("\"'")) for field in line.split(","))


@lru_cache(maxsize=8)
def _digest(path: str) -> str:
    rows = _load(path)
    # The shape is part of the content: (2, 3) and (3, 2) have the same bytes.
    state = hashlib.blake2b(repr(rows.shape).encode(), digest_size=8)
    state.update(rows.tobytes())
    return state.hexdigest()
