"""Finding what `module:attribute` names, in a folder first and then wherever Python looks."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from ntkmc.errors import InputError, did_you_mean

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
