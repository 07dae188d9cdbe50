"""Claims of a finished store: new ones from stored statistics, a first violation with the command that shows it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ntkmc.cli import main
from ntkmc.execution.driver import drive
from ntkmc.execution.events import BlockDone, Event
from ntkmc.experiment.analysis.update import Derived
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.store.reading import open_results
from ntkmc.experiment.store.store import Store
from ntkmc.experiment.study.loading import parse_study
from ntkmc.theory.claims import CLAIMS, Bound, Claim, DeterministicClaim, Domain, register

STUDY: dict[str, Any] = {
    "name": "later",
    "seed": 3,
    "kernel": "ntk",
    "grid": {"distribution": ["gaussian", "sphere"], "d": [5, 8], "n": 4, "depth": 2, "normalize": "none"},
    "trials": 40,
    "event": {"lambda-0": 0.5, "delta": 0.1},
    "claims": ["det-diag-upper"],
}


def below(context: Any, statistics: Any, parameters: Any) -> Bound:
    """A false claim: every norm is at most sqrt 8."""
    value = np.full_like(statistics["norm_max"], 8.0**0.5)
    return Bound(value, value)


def ran(data: dict[str, Any], path: Path, client: Any) -> tuple[int, str]:
    """(trials that were computed, what was said)."""
    events: list[Event] = []
    drive(parse_study(data, trusted=True), path, client, [events.append])
    said = " ".join(str(event) for event in events if not isinstance(event, BlockDone))
    return sum(event.trials for event in events if isinstance(event, BlockDone)), said


@pytest.fixture
def example() -> Any:
    claim = DeterministicClaim(
        id="det-short-rows",
        statement="Every row is shorter than sqrt 8.",
        latex="",
        source="nobody",
        domain=Domain("none"),
        side="upper",
        needs=("norm_max",),
        evaluate=below,
        quantity=lambda context, statistics: Bound(statistics["norm_max"], statistics["norm_max"]),
    )
    register(claim)
    yield claim
    del CLAIMS[claim.id]


@pytest.mark.long
def test_a_new_claim_needs_no_new_trials_unless_it_needs_a_statistic(
    tmp_path: Path, client: Any, example: Claim, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    assert ran(STUDY, path, client)[0] == 160
    computed, said = ran(STUDY | {"claims": ["det-diag-upper", example.id, "prob-sphere-coherence"]}, path, client)
    assert computed == 0
    assert "lack" not in said
    claims = open_results(path)["claims"].to_dataset().load()
    verdicts = claims["verdict"].sel(claim=example.id)
    assert Verdict(int(claims["overall"].sel(claim=example.id))) is Verdict.VIOLATED
    assert (verdicts.sel(distribution="sphere", n=4) == Verdict.HOLDS).all()
    assert int(claims["evaluated"].sel(claim="prob-sphere-coherence[delta=0.5]").max()) == 40

    computed, said = ran(STUDY | {"claims": ["det-pair-upper"]}, path, client)
    assert computed == 160
    assert "160 trials lack statistics" in said
    assert "pair_bound" in said

    # The first violation: its number is true, and the command that is shown recomputes it.
    norms = open_results(path)["trials"]["norm_max"].sel(distribution="gaussian", d=8, n=4).to_numpy()
    first = int(np.flatnonzero(norms > 8.0**0.5)[0])
    chosen = claims.sel(claim=example.id, distribution="gaussian", d=8, n=4, depth=2)
    assert int(chosen["first_violation"]) == first
    ran(STUDY | {"claims": [example.id]}, path, client)

    def ntkmc(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["ntkmc", *map(str, arguments)])
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit):
            main()
        signal.signal(signal.SIGTERM, before)
        return " ".join(capsys.readouterr().out.split())

    shown = ntkmc("show", path, "verdict=violated,d=8", "--claims")
    assert f"first: ntkmc trial {path} 'gaussian,d=8,n=4' {first} --claim 'det-short-rows'".replace(" ", "") in (
        shown.replace(" ", "")
    )
    told = ntkmc("trial", path, "gaussian,d=8,n=4", first, "--claim", "det-short-rows")
    assert "det-short-rows at L=2: violated" in told
    assert repr(float(norms[first])) in told
    assert "det-short-rows at L=2: violated" in ntkmc("trial", path, "gaussian,d=8,n=4", first)
    assert "det-pair-upper at L=2: holds" in ntkmc("trial", path, "gaussian,d=8,n=4", 0, "--claim", "det-pair-upper")


@pytest.mark.long
def test_an_unfinished_study_supports_nothing(tmp_path: Path, client: Any) -> None:
    """A first study has one of three dimensions; the second, whose cells are not run, speaks for all."""
    path = tmp_path / "s"
    wide = STUDY | {"grid": STUDY["grid"] | {"d": [40, 60, 80]}, "claims": ["prob-sphere-coherence-C2"], "trials": 200}
    narrow = wide | {"grid": wide["grid"] | {"d": 60}}
    label = "prob-sphere-coherence-C2[delta=0.1]"

    def overall() -> Verdict:
        return Verdict(int(open_results(path)["claims"]["overall"].sel(claim=label)))

    ran(narrow, path, client)
    assert overall() is Verdict.SUPPORTED
    Derived(Store.prepare(Location.of(path), parse_study(wide, trusted=True))).write()
    assert overall() is Verdict.UNDECIDED
    ran(wide, path, client)
    assert overall() is Verdict.SUPPORTED
