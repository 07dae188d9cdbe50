"""Tables and descriptions of distributions, as `ntkmc distributions` prints them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any, Final

import yaml

from ntkmc.errors import InputError
from ntkmc.theory.distributions.base import DISTRIBUTIONS, Spec
from ntkmc.theory.distributions.conformance import findings, refusal
from ntkmc.theory.distributions.factory import build, names
from ntkmc.theory.distributions.plugins import Plugin

_PHRASES: Final = {
    "zero_mean": "mean 0",
    "isotropic": "isotropic",
    "unit_norm": "norm 1",
    "norm_scaling": "norm scaling",
    "lipschitz": "Lipschitz concentration",
    "log_concave": "log-concave",
}
_TYPICAL: Final = 8
"""Dimension at which the list evaluates hypotheses."""


def parse_law(text: str) -> Spec:
    """Parse a specification, written as in a study file; `InputError` if it is not YAML.

    >>> parse_law("{student-t: {df: 3}}")
    {'student-t': {'df': 3}}
    """
    try:
        spec: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(
            f"{text!r} is not YAML; write a law as in a study, such as '{{student-t: {{df: 3}}}}'"
        ) from error
    return spec if isinstance(spec, dict) else text


def examples() -> dict[str, Spec]:
    """Return the specification of an example of each law, by label."""
    specs: dict[str, Spec] = {}
    for name in names():
        parameters = DISTRIBUTIONS[name].example if name in DISTRIBUTIONS else None
        spec: Spec = name if parameters is None else {name: dict(parameters)}
        specs[name if parameters is None else build(spec, trusted=True).label] = spec
    return specs


def summarize(spec: Spec) -> str:
    """Return the declared hypotheses of a law in one line."""
    try:
        law = build(spec, trusted=True)
        declared = law.hypotheses(_TYPICAL)
    except InputError as error:  # it needs parameters, or is a broken plug-in: list the other laws
        return str(error)
    phrases = [phrase for key, phrase in _PHRASES.items() if getattr(declared, key)]
    phrases += ["sub-Gaussian"] if declared.sub_gaussian is not None else []
    return ", ".join(phrases) or "nothing is declared"


def check_hypotheses(spec: Spec, dimensions: Sequence[int]) -> list[str]:
    """Return one line per hypothesis with its check on a sample; dimensions that the law rejects are skipped."""
    law = build(spec, trusted=True)
    lines = []
    for d in dimensions:
        if not refusal(law, 1, d):
            lines += [f"{f'{name} (d = {d})':<38}{result}" for name, result in findings(law, d).items()]
    # These two are statements about d -> infinity, which samples at one d can neither support nor refute.
    undecided = "undecided: needs a range of d, see data/studies/assumptions.yaml"
    return [*lines, *(f"{name:<38}{undecided}" for name in ("norm scaling", "Lipschitz concentration"))]


def describe(spec: Spec, dimensions: Sequence[int]) -> dict[str, str]:
    """Return the full description of a law, by heading."""
    if isinstance(spec, str) and spec in DISTRIBUTIONS and (example := DISTRIBUTIONS[spec].example):
        try:
            law = build(spec, trusted=True)
        except InputError:  # its parameters have no defaults
            law = build({spec: dict(example)}, trusted=True)
    else:
        law = build(spec, trusted=True)
    inner = law.law if isinstance(law, Plugin) else law
    description = inspect.getdoc(getattr(inner, "function", type(inner))) or "no description"
    lines = {"law": law.label, "is": " ".join(description.split())}
    if dataclasses.is_dataclass(inner) and type(inner).__module__ != Plugin.__module__:
        parameters = (f"{field.name} ({field.type})" for field in dataclasses.fields(inner) if field.repr)
        lines["parameters"] = ", ".join(parameters) or "none"
    for d in dimensions:
        suffix = f", d = {d}" if len(dimensions) > 1 else f" (d = {d})"
        try:
            law.check(1, d)
        except InputError as error:
            lines["refused" + suffix] = str(error)
            continue
        declared = law.hypotheses(d)
        try:
            lines["E|x|^2" + suffix] = f"{law.second_moment(d):g}"
        except InputError as error:
            lines["E|x|^2" + suffix] = f"none ({error})"
        answers = {None: "not declared", True: "yes", False: "no"}
        lines |= {phrase + suffix: answers[getattr(declared, key)] for key, phrase in _PHRASES.items()}
        lines["sub-Gaussian" + suffix] = f"K = {declared.sub_gaussian:g}" if declared.sub_gaussian else "not declared"
        lines["independent rows" + suffix] = "yes" if declared.independent_rows else "not declared"
    return lines
