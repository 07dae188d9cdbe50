"""User-defined laws: `module:attribute` in a study, or an entry point of an installed package.

The attribute is a `Distribution` subclass, or a function `f(n, d, rng, **parameters)` that returns n rows. The
function may have attributes: `f.second_moment(d, **parameters)`, required for `normalize: mean`, and
`f.hypotheses(d, **parameters)`, required for theorems about laws to apply.

A module is searched for in a folder first, and then on `sys.path`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final

import numpy as np

from ntkmc.errors import InputError, did_you_mean
from ntkmc.numeric import Matrix
from ntkmc.theory.distributions.base import Distribution, canonical, instantiate
from ntkmc.theory.distributions.hypotheses import UNKNOWN, Hypotheses

_importing = threading.RLock()
"""Imports change `sys.path` and `sys.modules`; threads of one worker may build laws at the same time."""


def load_attribute(target: str, folder: str, prefix: str) -> Any:
    """Return the object that `module:attribute` names.

    Parameters
    ----------
    target : str
    folder : str
        Folder that is searched before `sys.path`; empty for none.
    prefix : str
        Start of every message.

    Raises
    ------
    InputError
        If there is no such module, its import raises, or it has no such attribute.
    """
    name, _, attribute = target.partition(":")
    if not (attribute and all(part.isidentifier() for part in [*name.split("."), *attribute.split(".")])):
        raise InputError(f"{prefix}: a law of your own is written module:function, got {target!r}")
    try:
        with _importing:
            target_object: Any = _module(name, folder)
    except ModuleNotFoundError as error:
        if error.name != name and not name.startswith(f"{error.name}."):
            raise InputError(f"{prefix}: importing {name} failed: {error}") from error
        where = f"in {folder} or on sys.path" if folder else "on sys.path"
        raise InputError(f"{prefix}: no module {error.name!r} {where}") from error
    except (Exception, SystemExit) as error:  # whatever a user's module may raise
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{prefix}: importing {name} failed: {type(error).__name__}: {reason}") from error
    for part in attribute.split("."):
        if not hasattr(target_object, part):
            offered = [
                key for key, value in vars(target_object).items() if callable(value) and not key.startswith("_")
            ]
            raise InputError(f"{prefix}: {name} has no {attribute!r}: {did_you_mean(attribute, offered)}")
        target_object = getattr(target_object, part)
    return target_object


def _module(name: str, folder: str) -> ModuleType:
    top, _, rest = name.partition(".")
    # The file may be newer than Python's cached listing of its folder.
    importlib.invalidate_caches()
    spec = PathFinder.find_spec(top, [folder]) if folder else None
    if spec is None or spec.origin is None:
        return importlib.import_module(name)
    alias = _from_file(top, spec, folder)
    return importlib.import_module(f"{alias}.{rest}") if rest else sys.modules[alias]


def _from_file(top: str, spec: ModuleSpec, folder: str) -> str:
    """Import a file under a unique name, since another folder may contain another module called `top`.

    The name depends on the modification time and size of the file, so that a long-lived process imports an edited law.
    """
    origin = str(spec.origin)
    stamp = Path(origin).stat()
    digest = hashlib.blake2b(f"{origin} {stamp.st_mtime_ns} {stamp.st_size}".encode(), digest_size=8).hexdigest()
    alias = f"_ntkmc_{digest}_{top}"
    if alias in sys.modules:
        return alias
    inside = spec.submodule_search_locations
    renamed = importlib.util.spec_from_file_location(alias, origin, submodule_search_locations=inside)
    if renamed is None or renamed.loader is None:
        raise ImportError(f"{origin} is not a Python module")
    module = importlib.util.module_from_spec(renamed)
    sys.modules[alias] = module
    # For the module's own imports of its neighbours, while it is executed; last, to hide no installed package.
    sys.path.append(folder)
    try:
        renamed.loader.exec_module(module)
    except BaseException:
        del sys.modules[alias]
        raise
    finally:
        sys.path.remove(folder)
    return alias


GROUP: Final = "ntkmc.distributions"
"""Group of entry points that are laws; the name of the entry point is the name of the law."""


@dataclass(frozen=True)
class _FunctionLaw(Distribution):
    """Law that is defined by a function, with the values of all its parameters."""

    name: ClassVar[str] = "function"
    function: Callable[..., Any]
    prefix: str
    values: Mapping[str, int | float | str]

    def parameters(self) -> dict[str, int | float | str]:
        return dict(sorted(self.values.items()))

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        X: Matrix = self.function(n, d, rng, **self.values)
        return X

    def second_moment(self, d: int) -> float:
        moment = getattr(self.function, "second_moment", None)
        if moment is None:
            raise InputError(
                f"{self.prefix}: its second moment is not known, so normalize: mean is not defined; give the function "
                "an attribute second_moment(d, **parameters), or use normalize: unit or none"
            )
        return float(moment(d, **self.values))

    def hypotheses(self, d: int) -> Hypotheses:
        declared = getattr(self.function, "hypotheses", None)
        hypotheses: Hypotheses = UNKNOWN if declared is None else declared(d, **self.values)
        return hypotheses


@dataclass(frozen=True)
class Plugin(Distribution):
    """Law that is imported in the process that uses it; only its name, parameters and folder are pickled.

    Attributes
    ----------
    called : str
        Start of the label: `my_laws:shells`, or the name of an entry point; without the folder.
    target : str
        `module:attribute`.
    given : tuple of (str, number or str)
        Parameters as given in a study, sorted.
    folder : str
        Folder that is searched first for the module; empty for an entry point.
    """

    called: str
    target: str
    given: tuple[tuple[str, int | float | str], ...] = ()
    folder: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.called)

    # The imported object may not be picklable: a worker imports the module itself.
    def __reduce__(self) -> tuple[Any, ...]:
        return Plugin, (self.called, self.target, self.given, self.folder)

    @property
    def prefix(self) -> str:
        """Start of every message."""
        return f"distribution {self.called}"

    @cached_property
    def law(self) -> Distribution:
        """The imported law; `InputError` if the import fails or the object is not a law."""
        definition = load_attribute(self.target, self.folder, self.prefix)
        values = dict(self.given)
        if inspect.isclass(definition) and issubclass(definition, Distribution):
            with _one_line(f"{self.prefix}: building it failed"):
                return instantiate(definition, self.called, values)
        if inspect.isclass(definition) or not callable(definition):
            raise InputError(
                f"{self.prefix}: must be a Distribution subclass or a function f(n, d, rng, **parameters), "
                f"got {type(definition).__name__}"
            )
        return _FunctionLaw(definition, self.prefix, _bound(definition, values, self.prefix))

    def parameters(self) -> dict[str, int | float | str]:
        """Return all parameters of the law, including defaults: an explicit default value is the same law."""
        return self.law.parameters()

    @property
    def unit_norm(self) -> bool:
        return self.law.unit_norm

    def check(self, n: int, d: int) -> None:
        """Check the law, and draw two rows, so that an error in the law is reported before a run."""
        self.law.check(n, d)
        with _one_line(f"{self.prefix}: drawing at d = {d} failed"):
            self.sample(min(n, 2), d, np.random.default_rng(0))

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Draw rows of the law; `InputError` unless they are n finite float64 rows."""
        X = self.law.sample(n, d, rng)
        if not isinstance(X, np.ndarray) or X.shape != (n, d) or X.dtype != np.float64:
            got = f"shape {X.shape}, dtype {X.dtype}" if isinstance(X, np.ndarray) else type(X).__name__
            raise InputError(f"{self.prefix}: must return a float64 array of shape (n, d) = ({n}, {d}), got {got}")
        if not np.isfinite(X).all():
            raise InputError(f"{self.prefix}: row {int(np.argmin(np.isfinite(X).all(axis=1)))} is not finite")
        return np.ascontiguousarray(X)

    def second_moment(self, d: int) -> float:
        """Return the second moment of the law; `InputError` unless it is positive and finite."""
        with _one_line(f"{self.prefix}: its second moment at d = {d} failed"):
            moment = float(self.law.second_moment(d))
        if not 0.0 < moment < np.inf:
            raise InputError(f"{self.prefix}: its second moment must be a positive number, got {moment} at d = {d}")
        return moment

    def hypotheses(self, d: int) -> Hypotheses:
        """Return the hypotheses of the law; `InputError` if the type is wrong."""
        with _one_line(f"{self.prefix}: its hypotheses at d = {d} failed"):
            hypotheses = self.law.hypotheses(d)
        if not isinstance(hypotheses, Hypotheses):
            raise InputError(
                f"{self.prefix}: hypotheses must return ntkmc.Hypotheses, got {type(hypotheses).__name__}"
            )
        return hypotheses

    def stored(self, spec: Any) -> Any:
        """Return the entry with the folder before the module, independent of the working directory."""
        return {f"{self.folder}/{self.target}": self.parameters()} if self.folder else spec


@dataclass(frozen=True)
class Unimported(Distribution):
    """User-defined law in a store: it has a label, but its code is not imported.

    A store may come from an untrusted source. The code of a law runs only if the user runs a study that names it.

    Attributes
    ----------
    reference : str
        `folder/module:attribute`, as in the store.
    given : tuple of (str, number or str)
        All parameters, sorted.
    """

    reference: str
    given: tuple[tuple[str, int | float | str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.reference.rpartition("/")[2])

    def parameters(self) -> dict[str, int | float | str]:
        return dict(self.given)

    def _refuse(self, *arguments: Any, **named: Any) -> Any:
        raise InputError(
            f"distribution {self.name}: is code beside a study, which is not imported on a store's word; give the "
            "study that you trust (--study FILE), in Python by `load_study(FILE)`"
        )

    check = sample = second_moment = _refuse

    def stored(self, spec: Any) -> Any:
        """Return the law itself, since an entry of a stored study is not built again."""
        return self

    @property
    def spec(self) -> dict[str, dict[str, int | float | str]]:
        """Entry of the law in a study."""
        return {self.reference: dict(self.given)}


@contextmanager
def _one_line(prefix: str) -> Iterator[None]:
    """Convert any exception of a user's code into an `InputError` of one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{prefix}: {type(error).__name__}: {' '.join(str(error).split())[:160]}") from error


def by_reference(
    reference: str, given: Mapping[str, Any], base: Path | None = None, *, trusted: bool
) -> Plugin | Unimported:
    """Return the law `[folder/]module:attribute`; the folder is relative to `base`, and `base` by default."""
    if not trusted:
        return Unimported(reference, _given(reference, given))
    relative, _, target = reference.rpartition("/")
    try:
        start = Path(relative + "/").expanduser() if relative or reference.startswith("/") else Path()
        folder = str(((base or Path.cwd()) / start).resolve())
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"distribution {reference[:80]!r}: not a usable folder ({error})") from error
    return _imported(Plugin(target, target, _given(target, given), folder))


def from_entry_point(name: str, given: Mapping[str, Any]) -> Plugin | None:
    """Return the law that an installed package provides under `name`; None if there is none."""
    points = importlib.metadata.entry_points(group=GROUP)
    # A set: an installed and an editable copy of one package list the same target twice.
    targets = sorted({f"{point.module}:{point.attr}" for point in points if point.name == name})
    if len(targets) > 1:
        raise InputError(f"distribution {name}: several packages bring one ({', '.join(targets)}); keep one")
    return _imported(Plugin(name, targets[0], _given(name, given))) if targets else None


def entry_point_names() -> list[str]:
    """Return the names of laws of installed packages, without importing them."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)})


def _given(name: str, given: Mapping[str, Any]) -> tuple[tuple[str, int | float | str], ...]:
    """Return the parameters in canonical form; equal labels must give equal bits, so the law receives this form."""
    try:
        return tuple(sorted((str(key), canonical(value)) for key, value in given.items()))
    except InputError as error:
        raise InputError(f"distribution {name}: {error}") from error


def _imported(plugin: Plugin) -> Plugin:
    """Import a plug-in and bind its parameters, so that errors are reported where the law is named."""
    _ = plugin.label  # the label needs all parameters, and so imports the law
    return plugin


def _bound(function: Callable[..., Any], given: Mapping[str, Any], prefix: str) -> dict[str, int | float | str]:
    """Return all parameters after n, d and rng: given values, and defaults that are numbers or strings."""
    try:
        signature = inspect.signature(function)
        arguments = signature.bind(0, 0, None, **given)
    except (TypeError, ValueError) as error:
        try:
            shown = str(inspect.signature(function))
        except (TypeError, ValueError):
            shown = "unknown"
        raise InputError(
            f"{prefix}: {error}; it is called as f(n, d, rng, **parameters), and its signature is {shown}"
        ) from error
    # A default that is given explicitly is the same law. One that is no number or string cannot enter a label.
    arguments.apply_defaults()
    values: dict[str, Any] = {}
    for number, (name, value) in enumerate(arguments.arguments.items()):
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            values |= value
        elif number >= 3 and isinstance(value, int | float | str):
            values[name] = canonical(value)
    return values
