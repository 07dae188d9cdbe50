"""The project as a whole: shipped studies bite, versions agree, files stay small, an installed copy is complete."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from ntkmc import load_study, open_results
from ntkmc.execution.driver import drive
from ntkmc.execution.profiles import connect, load_profile
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.theory.claims import CLAIMS
from ntkmc.theory.claims.probability import NONDEGENERATE
from ntkmc.views.axis_frames import (
    features_frame,
    features_tables,
    targets_frame,
    targets_tables,
    widths_frame,
    widths_tables,
)
from ntkmc.views.cells import Grid
from ntkmc.views.frames import estimates_frame, hypotheses_frame
from ntkmc.views.spectra import has_spectra, laws_frame, spectra_frame, spectra_tables
from ntkmc.views.tables import probabilities
from ntkmc.views.verdicts import verdicts

ROOT = Path(__file__).resolve().parents[1]
HUGE = {"large-n"}  # minutes, and the memory of a whole machine: by hand
STUDIES = sorted(path for path in (ROOT / "data" / "studies").glob("*.yaml") if path.stem not in HUGE)
LONG = {
    "assumptions",
    "coherence",
    "corrections",
    "deep-theorem",
    "finite-width",
    "first-light-h",
    "generalization",
    "sketching",
    "spectral-bias",
    "training",
}
"""One or two minutes each: `make test-slow`. The others run in `make test-all`."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@dataclass(frozen=True)
class Shipped:
    """A shipped study and what it found."""

    name: str
    tree: xr.DataTree


def study_parameter(path: Path) -> Any:
    """The study as a parameter of `shipped`, marked by how long it takes."""
    return pytest.param(path, marks=pytest.mark.slow if path.stem in LONG else pytest.mark.long, id=path.stem)


def only(name: str) -> pytest.MarkDecorator:
    """Run a test with one shipped study."""
    path = ROOT / "data" / "studies" / f"{name}.yaml"
    return pytest.mark.parametrize("shipped", [study_parameter(path)], indirect=True)


@pytest.fixture(scope="module", params=[study_parameter(path) for path in STUDIES])
def shipped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """The results of a shipped study, run on two worker processes."""
    path = tmp_path_factory.mktemp("shipped") / "s"
    with connect(load_profile("local")) as client:
        outcome = drive(load_study(request.param), path, client)
    assert not outcome.failed
    assert not outcome.failed_trials
    return Shipped(request.param.stem, open_results(path))


def test_shipped_thresholds_bite(shipped: Shipped) -> None:
    """Few estimates are 0 or 1: below a third where the event is the subject.

    Studies of theorems span scales of lambda_min that no few thresholds can: there, a tenth must say something.
    """
    probability = shipped.tree["estimates"].to_dataset()["probability"].to_numpy()
    known = probability[~np.isnan(probability)]
    share = np.mean((known == 0.0) | (known == 1.0))
    assert share < (1 / 3 if shipped.name in {"first-light", "first-light-h", "corrections"} else 0.9)


def test_shipped_claims(shipped: Shipped) -> None:
    """No deterministic claim is violated, no probability bound refuted, and nothing printed that is false holds."""
    claims = shipped.tree["claims"].to_dataset().load()
    for label, overall in zip(claims["claim"].values, claims["overall"].values, strict=True):
        if str(label).startswith(("det-", "sketch-")):
            assert overall in (Verdict.HOLDS, Verdict.VACUOUS, Verdict.NOT_APPLICABLE), label
        elif str(label).startswith(("prob-", "bernstein-", "chernoff-", "width-", "claim-width-")):
            assert overall != Verdict.REFUTED, label
        elif str(label).startswith("printed/det-offdiag"):  # true as printed, and not what is needed
            assert overall in (Verdict.HOLDS, Verdict.NOT_APPLICABLE), label
        elif str(label).startswith("printed/det-"):
            assert overall in (Verdict.VIOLATED, Verdict.NOT_APPLICABLE), label


EXPECTED = {
    "assumptions": {
        "printed/claim-lipschitz-log-concave": Verdict.REFUTED,
        "claim-lipschitz-log-concave": Verdict.SUPPORTED,
    },
    "coherence": {
        "printed/claim-coherence-subgaussian[delta=0.1]": Verdict.REFUTED,
        "claim-coherence-subgaussian[delta=0.1]": Verdict.SUPPORTED,
        "prob-sphere-coherence[delta=0.5]": Verdict.SUPPORTED,
        "prob-sphere-coherence-C2[delta=0.1]": Verdict.SUPPORTED,
    },
    "finite-width": {
        "width-rank[m=1]": Verdict.HOLDS,
        "bernstein-width[delta=0.1,m=1024]": Verdict.SUPPORTED,
        "chernoff-width[delta=0.1,m=1024]": Verdict.SUPPORTED,
        "prob-width-hoeffding[delta=0.1,m=64]": Verdict.SUPPORTED,
        "width-jensen[m=1]": Verdict.SUPPORTED,
        "claim-width-n6[delta=0.1,m=4096]": Verdict.SUPPORTED,
        "claim-width-n6[delta=0.1,m=64]": Verdict.VACUOUS,
    },
    "spectral-bias": {
        "printed/det-depth-monotone": Verdict.VIOLATED,
        "det-depth-monotone": Verdict.HOLDS,
    },
    "training": {
        "claim-iterations[target=linear]": Verdict.HOLDS,
        "claim-residual-slowest[target=random-sign]": Verdict.HOLDS,
        "claim-residual-fastest[target=random-sign]": Verdict.HOLDS,
        "claim-flow-slowest[target=linear]": Verdict.HOLDS,
    },
    "generalization": {
        "det-label-form[target=linear]": Verdict.HOLDS,
        "det-label-form[target=quadratic]": Verdict.HOLDS,
        "claim-iterations[target=random-sign]": Verdict.HOLDS,
        "claim-generalization[delta=0.5,target=linear]": Verdict.SUPPORTED,
        "claim-generalization[delta=0.5,target=quadratic]": Verdict.SUPPORTED,
    },
    "sketching": {
        "sketch-rank[s=32]": Verdict.HOLDS,
        "sketch-rank[s=128]": Verdict.NOT_APPLICABLE,
        "sketch-weyl[s=2048]": Verdict.HOLDS,
    },
    "corrections": {
        "printed/det-depth-monotone": Verdict.VIOLATED,
        "printed/det-khatri-rao-deep[r=2]": Verdict.VIOLATED,
        "det-khatri-rao-deep[r=2]": Verdict.HOLDS,
    },
}


@pytest.mark.parametrize(
    "shipped", [study_parameter(path) for path in STUDIES if path.stem in EXPECTED], indirect=True
)
def test_shipped_findings(shipped: Shipped) -> None:
    """Verdicts that data/README.md reports."""
    claims = shipped.tree["claims"].to_dataset()["overall"].load()
    verdicts_of_study = {label: Verdict(int(claims.sel(claim=label))) for label in EXPECTED[shipped.name]}
    assert verdicts_of_study == EXPECTED[shipped.name]


LAWS = {
    "gaussian": {"holds"},
    "sphere": {"holds"},
    "rademacher": {"claim-lipschitz-concentration"},
    "laplace": {"claim-lipschitz-concentration"},
    "gaussian-ar1(rho=0.5)": {"law-isotropic"},
    "low-rank(rank=4)": {"claim-lipschitz-concentration", "law-isotropic"},
    "mixture(clusters=3,separation=1)": {"claim-lipschitz-concentration", "law-zero-mean"},
}
"""What fails of each law; `holds`: nothing does, and nothing is undecided."""


@only("generalization")
def test_what_the_bound_does_with_n(shipped: Shipped) -> None:
    """To 0 for functions of the row, as n to the power -1/2 where they are linear; not for random signs."""
    bound = shipped.tree["prediction"].to_dataset().squeeze(drop=True).load()
    first, last = bound.isel(n=0), bound.isel(n=-1)
    for target in ("linear", "quadratic", "relu"):
        assert float(last["bound_upper"].sel(target=target)) < float(first["bound_lower"].sel(target=target))
        assert float(last["bound_upper"].sel(target=target)) < 1.0
    assert float(last["bound"].sel(target="linear")) == pytest.approx((8 * 8 / 320) ** 0.5, rel=0.02)
    assert float(last["bound_lower"].sel(target="random-sign")) > float(first["bound_upper"].sel(target="random-sign"))


@only("training")
def test_how_networks_follow_the_kernel(shipped: Shipped) -> None:
    """What data/README.md says of the study training: exponents in the width, and where the scale matters."""
    dynamics = shipped.tree["dynamics"].to_dataset().squeeze(drop=True).load()
    for name in ("gap_started_width", "drift_width", "drift_kappa", "gap_started_kappa"):
        assert (dynamics[f"{name}_upper"] < 0.0).all(), name
        assert (dynamics[f"{name}_lower"] > -1.1).all(), name
    wide = dynamics["gap"].sel(n=32, network=[f"linear:m=1024:kappa={kappa}" for kappa in (0.3, 1.0)]).to_numpy()
    assert np.log(wide[1] / wide[0]) / np.log(1.0 / 0.3) == pytest.approx(1.0, abs=0.3)


@only("assumptions")
def test_which_law_satisfies_what(shipped: Shipped) -> None:
    """The table of assumptions.yaml, as data/README.md tells it."""
    frame = hypotheses_frame(shipped.tree)
    for law, failing in LAWS.items():
        mine = frame[frame["distribution"] == law]
        if failing == {"holds"}:
            assert set(mine["says"]) == {"holds"}, law
        else:
            assert set(mine["claim"][mine["says"] == "fails"]) == failing, law


@only("coherence")
def test_the_printed_coherence_constant_grows_as_the_root_of_d(shipped: Shipped) -> None:
    claims = shipped.tree["claims"].to_dataset().sel(claim="printed/claim-coherence-subgaussian[delta=0.1]", axis="d")
    for law in ("gaussian", "rademacher", "uniform-cube", "sphere"):
        low, value, high = (
            float(claims[f"exponent{end}"].sel(distribution=law).squeeze()) for end in ("_lower", "", "_upper")
        )
        assert low <= value <= high
        assert abs(value - 0.5) <= 0.1, law
        assert low >= 0.4, law
        assert high <= 0.65, law


@only("spectral-bias")
def test_what_depth_does_to_spectra(shipped: Shipped) -> None:
    """Condition numbers, exponents of decay and distances of spectral-bias.yaml, as data/README.md tells them."""
    grid = Grid(shipped.tree)
    frame: Any = spectra_frame(grid).set_index(["distribution", "d", "n", "depth"])
    large, small = frame.loc[("sphere", 20, 80)], frame.loc[("sphere", 60, 20)]
    assert large["condition"].round().tolist() == [103, 76, 62, 50, 38]
    assert large["decay"].round(2).abs().tolist() == pytest.approx([1.28, 0.93, 0.61, 0.31, 0.1], abs=0.011)
    assert (large["falls"].dropna() == 1.0).all()
    assert small["falls"].tolist()[1:3] == [0.0, 0.0]
    assert small["condition"].round(1).tolist() == [9.2, 10.5, 11.4, 11.3, 9.8]
    laws: Any = laws_frame(grid).set_index(["law", "distribution", "d", "n", "depth"])
    assert 0.014 < laws.loc[("pred-effective-ridge", "sphere", 60, 180, 2), "distance"] < 0.016
    assert laws.loc[("pred-coherence-limit", "sphere", 60, 20, 2), "lower"] > 0.0


def test_tables_fit_80_columns(shipped: Shipped) -> None:
    """Nothing is cut: rich marks a cut by an ellipsis that touches a word; ranges have spaces around theirs."""
    text = io.StringIO()
    console = Console(width=80, file=text)
    console.print(probabilities(estimates_frame(shipped.tree), 0.1))
    console.print(verdicts(shipped.tree))
    if has_spectra(Grid(shipped.tree)):
        console.print(spectra_tables(spectra_frame(Grid(shipped.tree)), laws_frame(Grid(shipped.tree))))
    if "convergence" in shipped.tree:
        console.print(widths_tables(widths_frame(shipped.tree), 0.1))
    if "prediction" in shipped.tree:
        console.print(targets_tables(targets_frame(shipped.tree), 0.1))
    if "sketch_accuracy" in shipped.tree:
        console.print(features_tables(features_frame(shipped.tree), 0.1))
    assert not re.findall(r".*\S…", text.getvalue())


def test_first_light_is_large_enough() -> None:
    """4 distributions x 3 d x 4 n x 3 depths x 300 trials, and the same draws for both kernels."""
    ntk, two = (load_study(ROOT / "data" / "studies" / f"{name}.yaml") for name in ("first-light", "first-light-h"))
    cells = [cell for cell in ntk.cells if cell.d < 100]
    assert len({cell.distribution.label for cell in cells}) >= 4
    assert len({cell.d for cell in cells}) >= 3
    assert len({cell.n for cell in cells}) >= 4
    assert all(len(cell.depths) >= 3 for cell in cells)
    assert len(ntk.trial_range) >= 300
    assert {cell.name for cell in ntk.cells} == {cell.name for cell in two.cells}
    assert ntk.seed == two.seed


def test_every_claim_is_tried_by_a_shipped_study() -> None:
    studies = [load_study(path) for path in sorted((ROOT / "data" / "studies").glob("*.yaml"))]
    assert len(studies) >= 8
    tried = {NONDEGENERATE.id}
    for study in studies:
        contexts = [study.context(cell, depth) for cell in study.cells for depth in cell.depths]
        tried |= {each.claim.id for each in study.instances if any(each.applies(context) for context in contexts)}
    assert tried == set(CLAIMS)


def test_versions_agree() -> None:
    import ntkmc

    assert ntkmc.__version__ == PROJECT["version"]
    assert f"version: {PROJECT['version']}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_import_is_free_of_heavy_modules() -> None:
    """`import ntkmc` needs no figure library, and no optional package."""
    heavy = {"matplotlib", "bokeh", "pyarrow", "dask_jobqueue", "cryptography", "panel", "latex2mathml"}
    script = f"import sys, ntkmc; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["gram", "smallest_eigenvalue"])
def test_benchmarks_still_run(name: str) -> None:
    sizes = ["--largest", "100", "--rounds", "1"] if name == "smallest_eigenvalue" else ["100", "1"]
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / f"{name}.py"), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "  100 " in done.stdout


def test_wheel_is_complete(tmp_path: Path) -> None:
    """An installed copy brings its profiles and dashboards along."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"ntkmc/_share/cluster/{path.name}" for path in (ROOT / "cluster").iterdir()} <= set(names)
    assert {"ntkmc/_share/cluster/local.yaml", "ntkmc/_share/dashboards/explorer.py", "ntkmc/py.typed"} <= set(names)
    templates = [path.relative_to(ROOT / "pipeline") for path in (ROOT / "pipeline").rglob("templates/*")]
    assert {str(path) for path in templates} <= set(names)
    assert len(templates) >= 4
    assert not [name for name in names if name.startswith(("tests/", "data/"))]
