"""Hypothesis strategies that harm things: study files, and stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            "../..",
            "/etc/passwd",
            "s3://x",
            "d^d^d^d",
            "1e999",
            "__import__('os')",
            "a:b",
            "os:system",
            "~",
            "\x00",
            "ntk\n",
        ]
    ),
    st.lists(st.integers(-5, 5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(-5, 5), max_size=2),
    st.just(["x"] * 300),
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values in nested dicts and lists."""
    found = [path] if path else []
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found += places(value, (*path, key))
    return found


def changed(document: Any, path: tuple[Any, ...], value: Any, delete: bool) -> Any:
    """A copy in which one value is another one, or gone."""
    copy: Any = json.loads(json.dumps(document))
    home = copy
    for key in path[:-1]:
        home = home[key]
    if delete:
        del home[path[-1]]
    else:
        home[path[-1]] = value
    return copy


@st.composite
def harmed_documents(draw: st.DrawFn, document: Any, most: int = 3) -> Any:
    """A nested document with a few values replaced or removed."""
    for _ in range(draw(st.integers(1, most))):
        where = places(document)
        if not where:
            break
        document = changed(document, draw(st.sampled_from(where)), draw(HOSTILE), draw(st.booleans()))
    return document


@st.composite
def harmed_texts(draw: st.DrawFn, text: str) -> str:
    """A text with a few characters deleted, doubled, or replaced."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(text) - 1, 0)))
        length = draw(st.integers(0, 12))
        new = draw(st.one_of(st.just(""), st.just(text[at : at + length] * 2), st.text(max_size=6)))
        text = text[:at] + new + text[at + length :]
    return text


@st.composite
def harms(draw: st.DrawFn, files: list[str]) -> list[tuple[str, str, int, int, Any]]:
    """What to do to a store: (file, kind, two numbers, a value), a few times."""
    kinds = st.sampled_from(["truncate", "flip", "delete", "garbage", "empty", "copy", "json"])
    one = st.tuples(st.sampled_from(files), kinds, st.integers(0, 2**31), st.integers(0, 2**31), HOSTILE)
    return draw(st.lists(one, min_size=1, max_size=3))


def harm(store: Path, what: tuple[str, str, int, int, Any], files: list[str]) -> None:
    """Do it."""
    name, kind, first, second, value = what
    path = store / name
    if not path.exists():
        return
    content = path.read_bytes()
    if kind == "truncate":
        path.write_bytes(content[: first % (len(content) + 1)])
    elif kind == "flip" and content:
        changed_content = bytearray(content)
        changed_content[first % len(content)] ^= 1 << second % 8
        path.write_bytes(changed_content)
    elif kind == "delete":
        path.unlink()
    elif kind == "garbage":
        path.write_bytes(bytes((first >> shift) & 255 for shift in range(0, 24, 8)) * (second % 50))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "copy":
        other = store / files[first % len(files)]
        path.write_bytes(other.read_bytes() if other.exists() else b"")
    elif kind == "json" and name.endswith("zarr.json"):
        try:
            document = json.loads(content)
        except ValueError:
            return
        where = places(document)
        if where:
            path.write_text(json.dumps(changed(document, where[first % len(where)], value, second % 3 == 0)))
