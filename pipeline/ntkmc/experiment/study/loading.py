"""Loading of studies from YAML files; each mistake is reported as one line with its location."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ntkmc.errors import InputError, did_you_mean
from ntkmc.experiment.study.model import Study

Sections = dict[str, tuple[type[BaseModel], ...]]


def sections_of(model: type[BaseModel]) -> Sections:
    """Return the models that the value of each key of `model` may be an instance of, by key.

    >>> [section.__name__ for section in sections_of(Study)["trials"]]
    ['FixedTrials', 'AdaptiveTrials']
    """

    def models_in(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [section for argument in get_args(annotation) for section in models_in(argument)]

    # By alias: messages must name keys as the study file has them.
    keys = {field.alias or name: models_in(field.annotation) for name, field in model.model_fields.items()}
    return {key: tuple(models) for key, models in keys.items() if models}


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
"""Names by which pydantic labels the alternatives of a union; they are removed from locations in messages."""


class _Loader(yaml.SafeLoader):
    """Safe YAML loader that refuses aliases and duplicate keys.

    PyYAML would silently keep the last of two equal keys. A few nested aliases can expand to more values than fit in
    memory.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        # Refused where they are composed, before anything is expanded.
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
        If the file cannot be read or is not a valid study. The message is one line: file, location, mistake, remedy.

    Examples
    --------
    >>> load_study("missing.yaml")
    Traceback (most recent call last):
    ntkmc.errors.InputError: missing.yaml: no such file
    """
    file = Path(path)
    data = read_yaml(file)
    return parse_study(data, origin=str(path), base=file.resolve().parent, trusted=True)


def read_yaml(file: Path) -> Any:
    """Return the content of a YAML file; an `InputError` has the line and column of the mistake."""
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


def parse_study(data: Any, origin: str = "study", base: Path | None = None, *, trusted: bool) -> Study:
    """Build a `Study` from plain data.

    Parameters
    ----------
    data : Any
        A mapping, as read from YAML or JSON.
    origin : str
        Start of every message, such as the name of the file.
    base : Path, optional
        Folder to which paths of datasets are relative.
    trusted : bool
        Whether code that the study names may be imported. Pass False for a study that was read from a store.

    Raises
    ------
    InputError
        If the data are not a valid study.
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


def describe(error: ValidationError, model: type[BaseModel], sections: Sections | None = None) -> str:
    """Describe the first error that pydantic reports about a `model` in one line, with the number of further errors.

    `sections` maps a key to the models of its value; their keys are suggested in place of an unknown key. The default
    is taken from the fields of `model`.
    """
    sections = sections_of(model) if sections is None else sections
    problems = error.errors(include_url=False)
    # Unknown keys first: an unknown key is mostly a misspelt one, and causes the errors about missing keys.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    line = _sentence(first["type"], tuple(first["loc"]), first["msg"], first.get("input"), model, sections)
    other_count = len({_place(tuple(problem["loc"])) for problem in problems}) - 1
    # A key may contain line breaks, but the message must be one line.
    line = " ".join(line.split())
    return (line if len(line) <= 400 else line[:400] + " ...") + (
        f" (and {other_count} more)" if other_count > 0 else ""
    )


def _sentence(
    kind: str, loc: tuple[int | str, ...], message: str, given: Any, model: type[BaseModel], sections: Sections
) -> str:
    place = _place(loc)
    if kind == "extra_forbidden":
        section = next((str(part) for part in loc[:-1] if part in sections), None)
        models = sections[section] if section else (model,)
        valid = {field.alias or name for section_model in models for name, field in section_model.model_fields.items()}
        return f"{place}: unknown key, {did_you_mean(str(loc[-1]), valid)}"
    if kind == "missing":
        return f"{place}: this key is missing"
    # Pydantic writes for programmers: names of types and of validators mean nothing in a study file.
    text = message.removeprefix("Value error, ").removeprefix("Input ").removeprefix("Value ")
    text = re.sub(r"valid dictionary or instance of \w+", "mapping", text)
    shown_input = repr(given)
    tail = f", got {shown_input}" if "got" not in text and len(shown_input) <= 60 and kind != "value_error" else ""
    return f"{place}: {text}{tail}" if place else f"{text}{tail}"


def _place(loc: tuple[int | str, ...]) -> str:
    place = ""
    for position, part in enumerate(loc):
        if isinstance(part, int):
            # A study with a single grid is written without a list: an index would only confuse.
            if not (position == 1 and loc[0] == "grid"):
                place += f"[{part}]"
        elif part not in _VARIANTS:
            if part.startswith(("function-", "constrained-", "tuple[", "literal[", "lax-or-strict")):
                continue
            place += f".{part}" if place else part
    return place
