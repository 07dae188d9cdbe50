"""Views of a store import no code that the store names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
import yaml

from ntkmc import open_results, run
from ntkmc.experiment.study import Study
from ntkmc.experiment.study.loading import load_study, parse_study
from ntkmc.theory.distributions import Unimported
from ntkmc.views.cells import Grid
from ntkmc.views.evidence import evidence
from ntkmc.views.explorer_data import evidence_html, overlays
from ntkmc.views.report import report_html
from ntkmc.views.report.markup import fragment

LAW = '''
from pathlib import Path

Path("imported").touch()

def law(n, d, rng):
    """Standard normal rows."""
    return rng.standard_normal((n, d))

law.second_moment = lambda d: float(d)
'''

STUDY = {
    "name": "untrusted", "seed": 3, "kernel": "ntk", "trials": 20, "spectrum": "full",
    "claims": ["all", "printed/det-depth-monotone"], "event": {"lambda-0": [0.2], "delta": 0.1},
    "grid": {"distribution": ["marked_law:law", "gaussian"], "d": [6], "n": [4], "depth": [2, 3], "normalize": "mean"},
}  # fmt: skip

EXPLORER = """
from ntkmc.views.cells import open_grid
from ntkmc.views.evidence import evidence
from ntkmc.views.explorer_data import (
    evidence_html, first_selection, from_query, options, overlays, readout, slider_range
)
grid = open_grid("store")
at = from_query(grid, {"distribution": "marked_law:law"})
assert at.distribution == "marked_law:law" and at.distribution in options(grid, first_selection(grid))["distribution"]
assert "confidence sequence" in readout(grid, at)
claims = grid.tree["claims"]["verdict"].sel(at.place.labels)
for place in grid.places:
    overlays(grid, place), slider_range(grid, place)
    for claim in claims["claim"].to_numpy().tolist():
        evidence_html(evidence(grid, "store", claim, place))
"""

VIEWS = {
    "show": ("-m", "ntkmc", "show", "store"),
    "figure": ("-m", "ntkmc", "show", "store", "--figure", "figure.png"),
    "spectrum": ("-m", "ntkmc", "show", "store", "--spectrum", "--figure", "spectrum.png"),
    "report": ("-m", "ntkmc", "report", "store", "-o", "report.html"),
    "explorer": ("-c", EXPLORER),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    """A store of a user's law."""
    folder = tmp_path_factory.mktemp("origin")
    (folder / "marked_law.py").write_text(LAW)
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where the import that the study asks for leaves its mark
        run(load_study(folder / "study.yaml"), folder / "store", client=client, progress=False)
        assert (folder / "imported").exists()
    return folder


@pytest.mark.parametrize("view", VIEWS)
def test_views_import_nothing(store: Path, tmp_path: Path, view: str) -> None:
    """In a fresh process, with the law's module beside the store and where the store says that it is."""
    shutil.copytree(store / "store", tmp_path / "store")
    shutil.copy(store / "marked_law.py", tmp_path)
    done = subprocess.run([sys.executable, *VIEWS[view]], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "imported").exists()
    if view == "report":
        assert "marked_law:law" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_trust_is_explicit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is imported by default."""
    (tmp_path / "marked_law.py").write_text(LAW)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match="trusted"):
        parse_study(STUDY)  # type: ignore[call-arg]
    for study in (parse_study(STUDY, base=tmp_path, trusted=False), Study.model_validate(STUDY)):
        assert isinstance(study.cells[0].distribution, Unimported)
    assert not (tmp_path / "imported").exists()


def test_text_of_a_store_is_escaped(store: Path) -> None:
    """Labels, names and provenance with HTML appear as text in the report and in the explorer."""
    attack = "<script>alert(1)</script>"
    tree = open_results(store / "store")
    claims = tree["claims"].to_dataset()
    labels = [
        f"{label}[{attack}]" if label == "det-pair-upper" else str(label) for label in claims["claim"].to_numpy()
    ]
    tree["claims"] = xr.DataTree(claims.assign_coords(claim=labels))
    tree.attrs |= {"study_hash": attack, "provenance": {"time": attack, "cpu": attack, "job": {attack: attack}}}
    grid = Grid(tree)
    page = report_html(grid, f"/tmp/{attack}")
    place = grid.places[0]
    shown = evidence_html(evidence(grid, attack, f"det-pair-upper[{attack}]", place))
    rows = overlays(grid, place).to_dict("records")
    assert any(attack in row["name"] for row in rows)
    shown += fragment("legend", rows=rows, colours=dict.fromkeys(("prediction", "lower bound", "upper bound"), attack))
    for html in (page, shown):
        assert "&lt;script&gt;alert(1)" in html
        assert "<script" not in html
    # In the commands, the tables and links of claims, and the provenance.
    assert page.count("&lt;script&gt;alert(1)") >= 9
