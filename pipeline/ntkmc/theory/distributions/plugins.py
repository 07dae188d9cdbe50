"""A user's own law: `module:function` in a study, or an entry point of an installed package.

What is named is a `Distribution` subclass, or a plain function `f(n, d, rng, **parameters)` that returns n rows. The
function may carry attributes: `f.second_moment(d, **parameters)`, without which `normalize: mean` is refused, and
`f.hypotheses(d, **parameters)`, without which no theorem about laws applies.

Finding what `module:attribute` names, in a folder first and then wherever Python looks.
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
from ntkmc.theory.distributions.base import Distribution, Matrix, canonical, instantiate
from ntkmc.theory.distributions.hypotheses import UNKNOWN, Hypotheses

_importing = threading.RLock()


def load_attribute(target: str, folder: str, said: str) -> Any:
    """What `module:attribute` names.

    Parameters
    ----------
    target : str
    folder : str
        Where the module is looked for before `sys.path`; empty for nowhere else.
    said : str
        Start of every message.

    Raises
    ------
    InputError
        If there is no such module, its import raises, or it has no such attribute.
    """
    name, _, attribute = target.partition(":")
    if not (attribute and all(part.isidentifier() for part in [*name.split("."), *attribute.split(".")])):
        raise InputError(f"{said}: a law of your own is written module:function, got {target!r}")
    try:
        with _importing:
            found: Any = _module(name, folder)
    except ModuleNotFoundError as error:
        if error.name != name and not name.startswith(f"{error.name}."):
            raise InputError(f"{said}: importing {name} failed: {error}") from error
        where = f"in {folder} or on sys.path" if folder else "on sys.path"
        raise InputError(f"{said}: no module {error.name!r} {where}") from error
    except (Exception, SystemExit) as error:  # whatever a user's module may raise
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{said}: importing {name} failed: {type(error).__name__}: {reason}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            offered = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
            raise InputError(f"{said}: {name} has no {attribute!r}: {did_you_mean(attribute, offered)}")
        found = getattr(found, part)
    return found


def _module(name: str, folder: str) -> ModuleType:
    top, _, rest = name.partition(".")
    importlib.invalidate_caches()  # the file may be younger than Python's listing of its folder
    spec = PathFinder.find_spec(top, [folder]) if folder else None
    if spec is None or spec.origin is None:
        return importlib.import_module(name)
    alias = _from_file(top, spec, folder)
    return importlib.import_module(f"{alias}.{rest}") if rest else sys.modules[alias]


def _from_file(top: str, spec: ModuleSpec, folder: str) -> str:
    """Import a file under a name of its own: another folder may have another module called `top`.

    The name holds the file's time as well, so that a long-lived process sees an edited law.
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
    sys.path.append(folder)  # for the module's own imports of its neighbours, while it is executed
    try:
        renamed.loader.exec_module(module)
    except BaseException:
        del sys.modules[alias]
        raise
    finally:
        sys.path.remove(folder)
    return alias


GROUP: Final = "ntkmc.distributions"
"""Entry points of this group are laws, called by the entry point's name."""


@dataclass(frozen=True)
class _FunctionLaw(Distribution):
    """A function, with the values of all its parameters."""

    name: ClassVar[str] = "function"
    function: Callable[..., Any]
    said: str
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
                f"{self.said}: its second moment is not known, so normalize: mean is not defined; give the function "
                "an attribute second_moment(d, **parameters), or use normalize: unit or none"
            )
        return float(moment(d, **self.values))

    def hypotheses(self, d: int) -> Hypotheses:
        declared = getattr(self.function, "hypotheses", None)
        found: Hypotheses = UNKNOWN if declared is None else declared(d, **self.values)
        return found


@dataclass(frozen=True)
class Plugin(Distribution):
    """A law that is imported where it is needed: only its name, its parameters and a folder travel to workers.

    Attributes
    ----------
    called : str
        What starts its label: `my_laws:shells`, or the name of an entry point. Never the folder.
    target : str
        `module:attribute`.
    given : tuple of (str, number or str)
        Parameters as a study gives them, sorted.
    folder : str
        Where the module is looked for first; empty for an entry point.
    """

    called: str
    target: str
    given: tuple[tuple[str, int | float | str], ...] = ()
    folder: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.called)

    def __reduce__(self) -> tuple[Any, ...]:
        return Plugin, (self.called, self.target, self.given, self.folder)

    @property
    def said(self) -> str:
        """Start of every message."""
        return f"distribution {self.called}"

    @cached_property
    def law(self) -> Distribution:
        """The imported law (`InputError` if it cannot be)."""
        found = load_attribute(self.target, self.folder, self.said)
        values = dict(self.given)
        if inspect.isclass(found) and issubclass(found, Distribution):
            with _one_line(f"{self.said}: building it failed"):
                return instantiate(found, self.called, values)
        if inspect.isclass(found) or not callable(found):
            raise InputError(
                f"{self.said}: must be a Distribution subclass or a function f(n, d, rng, **parameters), "
                f"got {type(found).__name__}"
            )
        return _FunctionLaw(found, self.said, _bound(found, values, self.said))

    def parameters(self) -> dict[str, int | float | str]:
        """Those of the law, defaults included, so that a default spelt out is the same law."""
        return self.law.parameters()

    @property
    def unit_norm(self) -> bool:
        """The law's."""
        return self.law.unit_norm

    def check(self, n: int, d: int) -> None:
        """The law's own refusals, and one small draw: a mistake in it shows before a run, not in every trial."""
        self.law.check(n, d)
        with _one_line(f"{self.said}: drawing at d = {d} failed"):
            self.sample(min(n, 2), d, np.random.default_rng(0))

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """The law's rows, refused if they are not n finite rows in float64."""
        X = self.law.sample(n, d, rng)
        if not isinstance(X, np.ndarray) or X.shape != (n, d) or X.dtype != np.float64:
            got = f"shape {X.shape}, dtype {X.dtype}" if isinstance(X, np.ndarray) else type(X).__name__
            raise InputError(f"{self.said}: must return a float64 array of shape (n, d) = ({n}, {d}), got {got}")
        if not np.isfinite(X).all():
            raise InputError(f"{self.said}: row {int(np.argmin(np.isfinite(X).all(axis=1)))} is not finite")
        return np.ascontiguousarray(X)

    def second_moment(self, d: int) -> float:
        """The law's, refused if it is not a positive number."""
        with _one_line(f"{self.said}: its second moment at d = {d} failed"):
            moment = float(self.law.second_moment(d))
        if not 0.0 < moment < np.inf:
            raise InputError(f"{self.said}: its second moment must be a positive number, got {moment} at d = {d}")
        return moment

    def hypotheses(self, d: int) -> Hypotheses:
        """The law's."""
        with _one_line(f"{self.said}: its hypotheses at d = {d} failed"):
            found = self.law.hypotheses(d)
        if not isinstance(found, Hypotheses):
            raise InputError(f"{self.said}: hypotheses must return ntkmc.Hypotheses, got {type(found).__name__}")
        return found

    def stored(self, spec: Any) -> Any:
        """With the folder before the module's name, so that another working directory finds it again."""
        return {f"{self.folder}/{self.target}": self.parameters()} if self.folder else spec


@dataclass(frozen=True)
class Unimported(Distribution):
    """A user's own law as a store names it: known by its label, never imported on a store's word.

    A store may come from anybody. The code of a law runs only if a study names it that the user runs.

    Attributes
    ----------
    reference : str
        `folder/module:attribute`, as it stands in the store.
    given : tuple of (str, number or str)
        All its parameters, sorted.
    """

    reference: str
    given: tuple[tuple[str, int | float | str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.reference.rpartition("/")[2])

    def parameters(self) -> dict[str, int | float | str]:
        """As the store has them."""
        return dict(self.given)

    def check(self, n: int, d: int) -> None:
        """Refused."""
        raise self._refusal()

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Refused."""
        raise self._refusal()

    def second_moment(self, d: int) -> float:
        """Refused."""
        raise self._refusal()

    def stored(self, spec: Any) -> Any:
        """Itself: what a study of a store holds is not built again."""
        return self

    @property
    def spec(self) -> dict[str, dict[str, int | float | str]]:
        """As it stands in a study."""
        return {self.reference: dict(self.given)}

    def _refusal(self) -> InputError:
        return InputError(
            f"distribution {self.name}: is code beside a study, which is not imported on a store's word; give the "
            "study that you trust (--study FILE)"
        )


@contextmanager
def _one_line(said: str) -> Iterator[None]:
    """Turns whatever a user's code raises into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{said}: {type(error).__name__}: {' '.join(str(error).split())[:160]}") from error


def by_reference(
    reference: str, given: Mapping[str, Any], base: Path | None = None, *, trusted: bool
) -> Plugin | Unimported:
    """The law that `[folder/]module:attribute` names; the folder is relative to `base`, which it is by default."""
    if not trusted:
        return Unimported(reference, _given(reference, given))
    before, _, target = reference.rpartition("/")
    try:
        start = Path(before + "/").expanduser() if before or reference.startswith("/") else Path()
        folder = str(((base or Path.cwd()) / start).resolve())
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"distribution {reference[:80]!r}: not a usable folder ({error})") from error
    return _tried(Plugin(target, target, _given(target, given), folder))


def from_entry_point(name: str, given: Mapping[str, Any]) -> Plugin | None:
    """The law that an installed package brings under `name`, if there is one."""
    points = importlib.metadata.entry_points(group=GROUP)
    targets = sorted({f"{point.module}:{point.attr}" for point in points if point.name == name})
    if len(targets) > 1:
        raise InputError(f"distribution {name}: several packages bring one ({', '.join(targets)}); keep one")
    return _tried(Plugin(name, targets[0], _given(name, given))) if targets else None


def entry_point_names() -> list[str]:
    """Names of the laws of installed packages; nothing is imported."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)})


def _given(name: str, given: Mapping[str, Any]) -> tuple[tuple[str, int | float | str], ...]:
    """Canonical before the law sees them: what has one label must have one set of bits."""
    try:
        return tuple(sorted((str(key), canonical(value)) for key, value in given.items()))
    except InputError as error:
        raise InputError(f"distribution {name}: {error}") from error


def _tried(plugin: Plugin) -> Plugin:
    """Imported, and its parameters bound: errors belong where it is named."""
    _ = plugin.label
    return plugin


def _bound(function: Callable[..., Any], given: Mapping[str, Any], said: str) -> dict[str, int | float | str]:
    """All parameters of a function behind n, d and rng: the given ones, and defaults that are numbers or strings."""
    try:
        signature = inspect.signature(function)
        arguments = signature.bind(0, 0, None, **given)
    except (TypeError, ValueError) as error:
        try:
            shown = str(inspect.signature(function))
        except (TypeError, ValueError):
            shown = "unknown"
        raise InputError(
            f"{said}: {error}; it is called as f(n, d, rng, **parameters), and its signature is {shown}"
        ) from error
    arguments.apply_defaults()
    values: dict[str, Any] = {}
    for number, (name, value) in enumerate(arguments.arguments.items()):
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            values |= value
        elif number >= 3 and isinstance(value, int | float | str):
            values[name] = canonical(value)
    return values
