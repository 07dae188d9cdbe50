"""Views of a store with the law of an installed package: the package is not imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from calling import called
from ntkmc.experiment.store import attributes_without_imports, open_results
from ntkmc.theory.distributions import Unimported
from ntkmc.views.cells import CellDepth, Grid, open_grid
from ntkmc.views.curves import medians_frame, probabilities_at, surface_frame
from ntkmc.views.evidence import evidence
from ntkmc.views.explorer_data import evidence_html, first_selection, options, overlays, readout

CODE = '''
from pathlib import Path

import ntkmc

with (Path(__file__).parent / "imports").open("a") as log:
    log.write("imported\\n")


def shells(n, d, rng, radius=2, power=1):
    """Standard normal rows, scaled."""
    return radius**power * rng.standard_normal((n, d))


shells.second_moment = lambda d, radius, power: radius ** (2 * power) * d
shells.hypotheses = lambda d, radius, power: ntkmc.Hypotheses(zero_mean=True, isotropic=True, norm_scaling=True)
'''
STUDY = {
    "name": "own",
    "seed": 3,
    "kernel": "ntk",
    "grid": {"distribution": ["gaussian"], "d": 8, "n": [4, 6], "depth": [2, 3], "normalize": "mean"},
    "trials": 30,
    "claims": ["all", "printed/det-depth-monotone"],
    "event": {"lambda-0": 0.2, "delta": 0.1},
    "spectrum": "full",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a study with the law, run where the package is installed; then the record of imports is deleted."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "my_law.py").write_text(CODE)
    laws = ["gaussian", "shells", {"shells": {"radius": 3}}]
    study = STUDY | {"grid": dict(STUDY["grid"]) | {"distribution": laws}}  # type: ignore[call-overload]
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    installed = folder / "shells-1.0.dist-info"  # of a package that brings the law `shells`
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: shells\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[ntkmc.distributions]\nshells = my_law:shells\n")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "ntkmc", "run", "study.yaml", "--store", "s"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "imports").exists()
    (folder / "imports").unlink()
    return folder / "s"


@pytest.fixture
def store(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store, read where the package is installed."""
    path = made
    monkeypatch.chdir(path.parent)
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.delitem(sys.modules, "my_law", raising=False)
    return path


LABELS = ["shells(power=1,radius=2)", "shells(power=1,radius=3)"]  # defaults included, which the study leaves out


@pytest.mark.parametrize(
    "words",
    [
        ["show", "s", "--format", "csv"],
        ["show", "s", "--table", "claims", "--format", "csv"],
        ["show", "s", "--table", "predictions", "--format", "csv"],
        ["show", "s", "--table", "spectrum", "--figure", "spectrum.png", "--format", "csv"],
        ["show", "s", "--figure", "figure.png", "--format", "csv"],
        ["report", "s", "-o", "report.html"],
    ],
    ids=" ".join,
)
def test_commands(
    store: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, *words) == 0
    assert not (store.parent / "imports").exists()
    text = capsys.readouterr().out if words[0] == "show" else (store.parent / "report.html").read_text()
    if "predictions" in words:  # those depend on what the law's code declares: left out
        assert "gaussian" in text
        assert "shells" not in text
    elif "csv" in words or words[0] == "report":
        assert "gaussian" in text
        assert all(label in text for label in LABELS)


def test_explorer(store: Path) -> None:
    grid = open_grid(store)
    assert {place.distribution for place in grid.places} == {"gaussian", *LABELS}
    selection = first_selection(grid)
    assert set(options(grid, selection)["distribution"]) == {"gaussian", *LABELS}
    for label in LABELS:
        place = CellDepth(label, 8, 6, 3)
        assert grid.used(place) == 30
        assert not overlays(grid, place)["kind"].eq("prediction").any()
        assert probabilities_at(grid, place, [0.2])[0].trials == 30
        assert len(surface_frame(grid, label, 3, 0.2)) == 2
        assert len(medians_frame(grid, label, 3)) == 2
        for claim in grid.tree["claims"]["claim"].to_numpy().tolist():
            found = evidence(grid, "s", claim, place)
            assert evidence_html(found)
    assert overlays(grid, CellDepth("gaussian", 8, 6, 3))["kind"].eq("prediction").any()
    assert readout(grid, selection)
    assert not (store.parent / "imports").exists()


def test_laws_of_packages_that_are_not_installed(made: Path) -> None:
    tree = open_results(made)
    assert {cell.distribution.label for cell in Grid(tree).cells.values()} == {"gaussian", *LABELS}
    described = attributes_without_imports(tree)["study"]["grid"][0]["distribution"]
    assert [type(law) for law in described] == [str, Unimported, Unimported]
    assert json.dumps(tree.attrs["study"])  # the store's own document is unchanged
