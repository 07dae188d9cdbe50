"""From a YAML file to a `Study`, with one line that says what is wrong where."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ntkmc.errors import InputError, did_you_mean
from ntkmc.experiment.study.model import AdaptiveTrials, Event, FixedTrials, Grid, Study

_SECTIONS: dict[str, tuple[type[BaseModel], ...]] = {
    "grid": (Grid,),
    "event": (Event,),
    "trials": (FixedTrials, AdaptiveTrials),
}


_VARIANTS = {
    "int",
    "str",
    "bool",
    "Certificates",
    "FixedTrials",
    "AdaptiveTrials",
    "literal['all']",
    "constrained-int",
}
"""Words of pydantic's for the alternatives of a union, which no user has written."""


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases, and without keys given twice (PyYAML would silently keep the last).

    A few nested aliases can stand for more values than fit in memory.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node, refused if it is an alias."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "aliases (*name) are not used in study files", mark)
        return super().compose_node(parent, index)


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, str | int | float) and key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
        if isinstance(key, str | int | float):
            seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_study(path: str | Path) -> Study:
    """Read and validate a study file.

    Parameters
    ----------
    path : str or Path
        A YAML file; paths of datasets in it are relative to its folder.

    Raises
    ------
    InputError
        One line: the file, the place in it, what is wrong, what would be right.

    Examples
    --------
    >>> load_study("missing.yaml")
    Traceback (most recent call last):
    ntkmc.errors.InputError: missing.yaml: no such file
    """
    file = Path(path)
    data = read_yaml(file)
    return parse_study(data, origin=str(path), base=file.resolve().parent)


def read_yaml(file: Path) -> Any:
    """The content of a YAML file, or an `InputError` with the line and column of the mistake."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise InputError(f"{file}: cannot be read ({reason})") from error
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise InputError(f"{file}:{where} not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{file}: not YAML: {reason}") from error


def parse_study(data: Any, origin: str = "study", base: Path | None = None, trusted: bool = True) -> Study:
    """A `Study` from plain data; `origin` starts every message, `base` is where relative paths start.

    With `trusted=False`, as for a study that stands in a store, no code that it names is imported.
    """
    if not isinstance(data, dict):
        keys = ", ".join(name for name, field in Study.model_fields.items() if field.is_required())
        raise InputError(f"{origin}: a study is a mapping with the keys {keys}")
    try:
        return Study.model_validate(data, context={"base": base, "trusted": trusted})
    except ValidationError as error:
        raise InputError(f"{origin}: {describe(error, Study)}") from error
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error


Sections = dict[str, tuple[type[BaseModel], ...]]


def describe(error: ValidationError, model: type[BaseModel], sections: Sections = _SECTIONS) -> str:
    """One line for the first of pydantic's complaints about a `model`, and how many more there are.

    `sections` says which models stand under which key, for advice on a key that is unknown there.
    """
    problems = error.errors(include_url=False)
    # A missing key often makes others fail: what is unknown comes first, it is mostly the same key misspelt.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    line = _sentence(first["type"], tuple(first["loc"]), first["msg"], first.get("input"), model, sections)
    others = len({_place(tuple(problem["loc"])) for problem in problems}) - 1
    # A key may hold anything, line breaks too; the message is one line.
    line = " ".join(line.split())
    return (line if len(line) <= 400 else line[:400] + " ...") + (f" (and {others} more)" if others > 0 else "")


def _sentence(
    kind: str, loc: tuple[int | str, ...], message: str, given: Any, model: type[BaseModel], sections: Sections
) -> str:
    place = _place(loc)
    if kind == "extra_forbidden":
        section = next((str(part) for part in loc[:-1] if part in sections), None)
        models = sections[section] if section else (model,)
        valid = {field.alias or name for each in models for name, field in each.model_fields.items()}
        return f"{place}: unknown key, {did_you_mean(str(loc[-1]), valid)}"
    if kind == "missing":
        return f"{place}: this key is missing"
    text = message.removeprefix("Value error, ").removeprefix("Input ").removeprefix("Value ")
    text = re.sub(r"valid dictionary or instance of \w+", "mapping", text)
    shown = repr(given)
    tail = f", got {shown}" if "got" not in text and len(shown) <= 60 and kind != "value_error" else ""
    return f"{place}: {text}{tail}" if place else f"{text}{tail}"


def _place(loc: tuple[int | str, ...]) -> str:
    place = ""
    for position, part in enumerate(loc):
        if isinstance(part, int):
            # A single grid stands for a list of one: its index would only confuse.
            if not (position == 1 and loc[0] == "grid"):
                place += f"[{part}]"
        elif part not in _VARIANTS:
            if part.startswith(("function-", "constrained-", "tuple[", "literal[", "lax-or-strict")):
                continue
            place += f".{part}" if place else part
    return place
