"""A user's own laws: found, named, sent to other processes, run in a study, tried; and refused in one line."""

from __future__ import annotations

import importlib.metadata
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ntkmc import open_results
from ntkmc.cli import distribution_table
from ntkmc.errors import InputError
from ntkmc.experiment.study.loading import load_study, parse_study
from ntkmc.theory.distributions import build, check_distribution, names

LAWS = '''
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from ntkmc import Distribution, Hypotheses
from neighbour import stretch

def shells(n, d, rng, radius=2.0):
    """Uniform on two spheres."""
    Z = rng.standard_normal((n, d + 1))
    X = Z[:, 1:] / np.linalg.norm(Z[:, 1:], axis=1, keepdims=True)
    return np.where(Z[:, :1] > 0.0, radius, 1.0) * X

shells.second_moment = lambda d, radius: (1.0 + radius**2) / 2.0
shells.hypotheses = lambda d, radius: Hypotheses(zero_mean=True, isotropic=True, sub_gaussian=radius)

@dataclass(frozen=True)
class Stretched(Distribution):
    """A Gaussian."""
    name: ClassVar[str] = "gaussian"
    by: float
    def sample(self, n, d, rng):
        return stretch(rng.standard_normal((n, d)), self.by)
    def second_moment(self, d):
        return d * self.by**2

@dataclass
class Changeable(Distribution):
    name: ClassVar[str] = "changeable"
    by: float
    sample = Stretched.sample
    second_moment = Stretched.second_moment

def single(n, d, rng): return rng.standard_normal((n, d)).astype(np.float32)
def transposed(n, d, rng): return rng.standard_normal((d + 1, n)).T
def listed(n, d, rng): return rng.standard_normal((n, d)).tolist()
def infinite(n, d, rng): return np.full((n, d), np.inf)
def raising(n, d, rng): return 1 // 0
def two_arrays(n, d, rng): return rng.standard_normal((n, d)) * rng.standard_normal((n, 1))
def deaf(n, d, rng): return np.random.default_rng(0).standard_normal((n, d))
def global_state(n, d, rng): return np.random.standard_normal((n, d))
def shifted(n, d, rng): return rng.standard_normal((n, d)) + 0.1
shifted.hypotheses = lambda d: Hypotheses(zero_mean=True)
def uneven(n, d, rng): return rng.standard_normal((n, d)) * np.linspace(1.0, 1.2, d)
uneven.hypotheses = lambda d: Hypotheses(isotropic=True)
def correlated(n, d, rng):
    Z = rng.standard_normal((n, d + 1))
    return Z[:, 1:] + 0.3 * Z[:, :1]
correlated.hypotheses = uneven.hypotheses
def laplace(n, d, rng): return rng.laplace(scale=0.5**0.5, size=(n, d))
laplace.hypotheses = lambda d: Hypotheses(sub_gaussian=1.0)
def long(n, d, rng): return rng.standard_normal((n, d))
long.hypotheses = lambda d: Hypotheses(unit_norm=True)
def alike(n, d, rng): return rng.standard_normal(d) + np.zeros((n, d))
alike.hypotheses = lambda d: Hypotheses(independent_rows=True)
def wide(n, d, rng): return rng.standard_normal((n, d))
wide.second_moment = lambda d: 1.05 * d
def vague(n, d, rng): return rng.standard_normal((n, d))
vague.hypotheses = lambda d: "Gaussian"
def negative(n, d, rng): return rng.standard_normal((n, d))
negative.second_moment = lambda d: -1.0
number = 3
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with laws, which is not the working directory."""
    laws, elsewhere = tmp_path / "laws", tmp_path / "elsewhere"
    for each in (laws, elsewhere):
        each.mkdir()
    (laws / "my_laws.py").write_text(LAWS)
    (laws / "neighbour.py").write_text("def stretch(X, by):\n    return by * X\n")
    (laws / "broken.py").write_text("import no_such_module_at_all\n")
    (laws / "torn.py").write_text("def f(:\n")
    (laws / "leaving.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(elsewhere)
    return laws


def test_labels_are_free_of_folders_and_spelling(folder: Path) -> None:
    specs: list[Any] = [
        "my_laws:shells",
        {"my_laws:shells": {"radius": 2.0}},
        {"my_laws:shells": {"radius": 2}},
        {f"{folder}/my_laws:shells": None},
    ]
    laws = [build(spec, folder, trusted=True) for spec in specs]
    assert {law.label for law in laws} == {"my_laws:shells(radius=2)"}
    assert build("../laws/my_laws:shells", trusted=True).label == laws[0].label
    assert (
        build({"my_laws:Stretched": {"by": 2}}, folder, trusted=True).label == "my_laws:Stretched(by=2)"
    )  # not `gaussian(by=2)`
    assert not [path for path in sys.path if path == str(folder)]


def test_good_laws_conform(folder: Path) -> None:
    assert check_distribution({"my_laws:shells": {"radius": 3}}, base=folder) == (1, 2, 8)
    assert check_distribution({"my_laws:Stretched": {"by": 0.1}}, base=folder) == (1, 2, 8)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("single", "must return a float64 array of shape .* got shape .*float32"),
        ("transposed", r"at d = 2: .* float64 array of shape \(n, d\) = \(20, 2\), got shape \(20, 3\)"),
        ("listed", "float64 array of shape .* got list"),
        ("infinite", "row 0 is not finite"),
        ("raising", "at d = 1: drawing raised ZeroDivisionError"),
        ("two_arrays", r"sample\(n\)\[:m\] is not sample\(m\)"),
        ("deaf", "every draw is the same: rng is not used"),
        ("global_state", "two generators in one state give different rows"),
        ("shifted", "declared of mean 0, Monte Carlo gives another mean"),
        ("uneven", "at d = 8: declared isotropic, Monte Carlo gives another covariance"),
        ("correlated", "at d = 2: declared isotropic, Monte Carlo gives another covariance"),
        ("laplace", "declared sub-Gaussian with K = 1, Monte Carlo gives a larger"),
        ("long", "declared of norm 1, it draws a row of norm"),
        ("alike", "declared of independent rows, Monte Carlo finds the first two correlated"),
        ("wide", "second_moment is 8.4, Monte Carlo gives"),
        ("vague", "hypotheses must return ntkmc.Hypotheses, got str"),
        ("negative", "second moment must be a positive number, got -1.0"),
    ],
)
def test_bad_laws_are_caught(folder: Path, name: str, said: str) -> None:
    """A law on the wrong side by a few percent does not pass."""
    with pytest.raises(InputError, match=said) as caught:
        build_and_check(f"my_laws:{name}", folder)
    assert "\n" not in str(caught.value)


def build_and_check(spec: Any, folder: Path) -> None:
    check_distribution(spec, base=folder)
    build(spec, folder, trusted=True).second_moment(2)


def test_what_is_not_a_value_is_caught(folder: Path) -> None:
    """Of laws that are not wrapped: subclasses given as they are."""
    law = build({"my_laws:Changeable": {"by": 2}}, folder, trusted=True).law  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"cannot be hashed.*frozen dataclass"):
        check_distribution(law)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("my_laws:shels", "my_laws has no 'shels': did you mean 'shells'"),
        ("my_lows:shells", "no module 'my_lows' in .*laws or on sys.path"),
        ("my_laws.deep:shells", "no module|importing my_laws.deep failed"),
        ("broken:f", "importing broken failed: No module named 'no_such_module_at_all'"),
        ("torn:f", "importing torn failed: SyntaxError"),
        ("leaving:f", "importing leaving failed: SystemExit: 3"),
        ("my_laws:number", "must be a Distribution subclass or a function .* got int"),
        ({"my_laws:shells": {"radus": 3}}, "unexpected keyword argument 'radus'.*its signature is"),
        ({"my_laws:shells": {"radius": [1, 2]}}, "must be a number or a string"),
        ("my_laws:Stretched", "distribution my_laws:Stretched needs by"),
        ({"my_laws:Stretched": {"buy": 1}}, "no parameter 'buy': did you mean 'by'"),
    ],
)
def test_refusals(folder: Path, spec: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        build(spec, folder, trusted=True)
    assert "\n" not in str(caught.value)


def test_no_second_moment(folder: Path) -> None:
    with pytest.raises(InputError, match="not known, so normalize: mean is not defined; give the function"):
        build("my_laws:laplace", folder, trusted=True).second_moment(3)


def test_folders_do_not_mix(folder: Path, tmp_path: Path) -> None:
    """Two modules of one name, and one that is edited, in one process."""
    other = tmp_path / "other"
    other.mkdir()
    laws = []
    for factor in (1.0, 22.0):
        text = f"def f(n, d, rng):\n    return {factor} * rng.standard_normal((n, d))\n"
        (other / "my_laws.py").write_text(text)
        laws.append(build("my_laws:f", other, trusted=True))
    laws.append(build("my_laws:wide", folder, trusted=True))
    first, edited, elsewhere = (law.sample(1, 2, np.random.default_rng(0)) for law in laws)
    assert np.array_equal(edited, 22.0 * first)
    assert np.array_equal(elsewhere, first)


def test_packages(folder: Path) -> None:
    package = folder / "several"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("SCALE = 3.0\n")
    (package / "laws.py").write_text(
        "from .base import SCALE\ndef f(n, d, rng):\n    return SCALE * rng.standard_normal((n, d))\n"
    )
    law = build("several.laws:f", folder, trusted=True)
    assert law.label == "several.laws:f"
    assert np.array_equal(law.sample(2, 3, np.random.default_rng(0)), 3 * np.random.default_rng(0).normal(size=(2, 3)))


def test_another_process_imports_it_again(folder: Path) -> None:
    law = build({"my_laws:shells": {"radius": 3}}, folder, trusted=True)
    sent = pickle.dumps(law)
    assert len(sent) < 400
    script = (
        "import pickle, sys, numpy as np; law = pickle.loads(sys.stdin.buffer.read()); "
        "print(law.label, law.sample(5, 4, np.random.default_rng(7)).tobytes().hex())"
    )
    done = subprocess.run([sys.executable, "-c", script], input=sent, capture_output=True, check=True)
    label, bits = done.stdout.decode().split()
    assert label == law.label
    assert bits == law.sample(5, 4, np.random.default_rng(7)).tobytes().hex()


@pytest.mark.long
def test_whole_study(folder: Path) -> None:
    """From another working directory, on worker processes; the study that names the laws rebuilds a trial."""
    study = {
        "name": "own",
        "seed": 3,
        "kernel": "ntk",
        "grid": {"distribution": ["my_laws:shells", {"my_laws:Stretched": {"by": 2}}], "d": 5, "n": [3, 4]},
        "trials": 20,
        "event": {"lambda-0": 0.2},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    command = [sys.executable, "-m", "ntkmc"]
    ran = [*command, "run", str(folder / "study.yaml"), "--store", "own.zarr"]
    done = subprocess.run(ran, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tree = open_results("own.zarr")
    labels = tree["trials"].to_dataset()["distribution"].to_numpy()
    assert labels.tolist() == ["my_laws:shells(radius=2)", "my_laws:Stretched(by=2)"]
    assert (tree["estimates"].to_dataset()["trials_used"] == 20).all()
    loaded = load_study(folder / "study.yaml")
    again = parse_study(loaded.document(), trusted=True)
    assert [cell.name for cell in again.cells] == [cell.name for cell in loaded.cells]
    assert again.digest() == loaded.digest()
    one = [*command, "trial", "own.zarr", "my_laws:shells(radius=2),d=5,n=4", "7"]
    done = subprocess.run(one, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not imported on a store's word; give the study that you trust (--study FILE)" in done.stderr
    done = subprocess.run([*one, "--study", str(folder / "study.yaml")], capture_output=True, text=True, check=False)
    assert "bit for bit" in done.stdout, done.stderr


def test_mistakes_show_before_a_run(folder: Path) -> None:
    study = {
        "name": "own",
        "seed": 3,
        "kernel": "ntk",
        "grid": {"distribution": ["my_laws:raising"], "d": 5, "n": 3, "normalize": "none"},
        "trials": 2,
        "event": {"lambda-0": 0.2},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    with pytest.raises(InputError, match=r"study.yaml: grid: .*drawing at d = 5 failed: ZeroDivisionError"):
        load_study(folder / "study.yaml")


@pytest.fixture
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages that bring laws, one of them broken, one name twice."""
    found = {
        ("shells", "my_laws:shells"),
        ("stretched", "my_laws:Stretched [extra]"),
        ("lost", "no_such_module_at_all:f"),
        ("twice", "my_laws:shells"),
        ("twice", "my_laws:wide"),
        ("sphere", "my_laws:wide"),
    }
    points = [importlib.metadata.EntryPoint(name, value, "ntkmc.distributions") for name, value in sorted(found)]

    def entry_points(group: str) -> importlib.metadata.EntryPoints:
        return importlib.metadata.EntryPoints(points).select(group=group)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.usefixtures("installed")
def test_entry_points() -> None:
    law = build({"shells": {"radius": 3}}, trusted=True)
    assert law.label == "shells(radius=3)"
    assert law.stored({"shells": {"radius": 3}}) == {"shells": {"radius": 3}}
    assert pickle.loads(pickle.dumps(law)) == law
    assert build({"stretched": {"by": 2}}, trusted=True).label == "stretched(by=2)"
    assert build("sphere", trusted=True).unit_norm  # what ntkmc brings is never replaced
    assert check_distribution("shells") == (1, 2, 8)
    assert {"shells", "gaussian", "lost"} <= set(names())
    assert "mean 0" in distribution_table.summarize(distribution_table.examples()["shells"])
    assert "no module" in distribution_table.summarize("lost")
    for spec, said in {
        "lost": "distribution lost: no module 'no_such_module_at_all' on sys.path",
        "twice": "several packages bring one",
        "shels": "did you mean 'shells'",
    }.items():
        with pytest.raises(InputError, match=said):
            build(spec, trusted=True)
