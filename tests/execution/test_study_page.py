"""The Study page shows what the store holds, also after drivers were interrupted and started again."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

from ntkmc import open_results
from ntkmc.api import execute
from ntkmc.execution.driver import drive
from ntkmc.execution.events import BlockDone, Event
from ntkmc.execution.progress.study_page import feed as feeds
from ntkmc.execution.progress.study_page.feed import study_page
from ntkmc.execution.progress.study_page.page import Page, Viewers
from ntkmc.execution.progress.study_page.plugin import NAME, StudyPlugin
from ntkmc.execution.progress.study_page.state import Studies, StudyState
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.experiment.study.model import Study
from stores import trials_of


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A scheduler with a dashboard, in this process."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as connected,
    ):
        yield connected


def fetch(client: Any, page: str) -> str:
    url = f"http://127.0.0.1:{client.cluster.scheduler.http_server.port}/{page}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def assert_store_is_shown(client: Any, path: Path) -> dict[str, Any]:
    """`study.json` against what is folded, to the last digit (a worker may still put a block into the journal)."""
    shown: dict[str, Any] = json.loads(fetch(client, "study.json?cells=1"))
    tree = open_results(path)
    estimates, status = tree["estimates"].to_dataset().load(), trials_of(path)["status"]
    for row in shown["table"]:
        here = {name: row[name] for name in ("distribution", "d", "n")}
        assert row["done"] == int((status.sel(here) != 0).all("depth").sum())
        for name, stored in (("probability", ""), ("lower", "_lower"), ("upper", "_upper")):
            values = (
                estimates[f"probability{stored}"].sel(here).sel(depth=shown["depths"], lambda_0=shown["thresholds"])
            )
            expected = [[None if np.isnan(x) else x for x in line] for line in values.to_numpy().tolist()]
            assert row[name] == expected, (row["cell"], name)
    overall = tree["claims"]["overall"].load()
    words = {
        str(claim): Verdict(int(code)).word
        for claim, code in zip(overall["claim"].to_numpy(), overall.to_numpy(), strict=True)
    }
    assert shown["verdicts"] == {
        claim: word for claim, word in words.items() if word not in ("not-evaluated", "not-applicable")
    }
    return shown


@pytest.mark.long
def test_a_run_is_shown(cluster: Any, tmp_path: Path, small_study: Study) -> None:
    execute(small_study, tmp_path / "s", client=cluster, progress=False)
    shown = assert_store_is_shown(cluster, tmp_path / "s")
    assert shown["condition"] == "finished"
    assert (shown["cells_done"], shown["trials_done"], shown["trials_failed"]) == (12, 720, 0)
    page = fetch(cluster, "study")
    assert '<a href="study">Study</a>' in page
    assert '<a href="study">Study</a>' in fetch(cluster, "status")
    execute(small_study, tmp_path / "s", client=cluster, progress=False)  # installed once, however many runs
    assert fetch(cluster, "status").count('<a href="study">') == 1


@pytest.mark.long
def test_a_driver_may_die(cluster: Any, tmp_path: Path, small_study: Study) -> None:
    """Stopped half way: the page agrees with the store. Started again: it begins where the store is."""

    class Stop:
        blocks = 0

        def __call__(self, event: Event) -> None:
            if isinstance(event, BlockDone):
                self.blocks += 1
                if self.blocks == 4:
                    raise KeyboardInterrupt

    path = tmp_path / "s"
    subscribers: list[Any] = [*study_page(small_study, str(path), cluster), Stop()]
    outcome = drive(small_study, path, cluster, subscribers, block_length=20)
    assert outcome.interrupted
    shown = assert_store_is_shown(cluster, path)
    assert shown["condition"] == "interrupted"
    assert 0 < shown["trials_done"] < 720

    seeds: list[StudyState] = []
    (feed,) = study_page(small_study, str(path), cluster)
    plugin = cluster.cluster.scheduler.plugins[NAME]
    receive, taken = plugin.receive, plugin.studies.states

    def watch(run: str, pickled: bytes) -> bool:
        shows = receive(run, pickled)
        if not seeds:
            seeds.append(plugin.studies.latest)
            assert int(plugin.studies.latest.done.sum()) >= shown["trials_done"]
            assert int((~np.isnan(plugin.studies.latest.upper)).sum()) >= sum(
                value is not None for row in shown["table"] for line in row["upper"] for value in line
            )
        return bool(shows)

    cluster.cluster.scheduler.handlers["ntkmc_study"] = watch
    drive(small_study, path, cluster, [feed])
    cluster.cluster.scheduler.handlers["ntkmc_study"] = receive
    assert seeds
    assert len([state for state in plugin.studies.states.values() if state.store == str(path)]) == 1
    assert taken is not plugin.studies.states
    assert assert_store_is_shown(cluster, path)["trials_done"] == 720


@pytest.mark.long
def test_a_view_does_not_end_a_run(
    cluster: Any, client: Client, tmp_path: Path, small_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [feed.page for feed in study_page(small_study, "s", client)] == [False]  # no dashboard, no page
    assert [feed.page for feed in study_page(small_study, "s", cluster)] == [True]

    failures = 0

    def broken(*arguments: Any) -> bool:
        nonlocal failures
        if not arguments or arguments[-1]:
            failures += 1
            raise OSError("the scheduler does not listen")
        return True

    monkeypatch.setattr(feeds, "send", broken)
    assert not execute(small_study, tmp_path / "s", client=cluster, progress=False).failed
    assert failures
    monkeypatch.setattr(feeds, "StudyPlugin", broken)
    assert study_page(small_study, "s", cluster) == []


def state_of(cells: int, clock: Callable[[], float] = time.monotonic, study: str = "large") -> StudyState:
    n = np.arange(1, cells + 1)
    return StudyState(
        study, "store", "r", [f"sphere,d=3,n={value}" for value in n], ["sphere"] * cells, np.full(cells, 3), n,
        np.full(cells, 100), np.zeros(cells, dtype=int), [2, 3], [0.1, 0.5], clock,
    )  # fmt: skip


def test_state_counts() -> None:
    now = 50.0
    state = state_of(3, clock=lambda: now)
    assert state.seconds_left is None
    assert state.summary()["seconds_left"] is None
    now += 10.0
    state.update({"done": (np.array([0, 1]), np.array([100, 50])), "closed": (np.array([0]), np.array([True]))})
    assert state.rate == 15.0
    assert state.seconds_left == 10.0
    assert state.condition == "running"
    now += 100.0
    assert "silent for 100 s" in state.condition
    assert state.rate < 2.0
    state.update({"ended": "finished", "set_aside": {"sphere,d=3,n=3": "poison"}})
    assert state.condition == "finished"
    assert state.seconds_left is None
    assert state.summary()["set_aside"] == {"sphere,d=3,n=3": "poison"}
    assert json.loads(json.dumps(state.table()))[0]["probability"] == [[None, None], [None, None]]


def test_transitions_are_counted() -> None:
    plugin = StudyPlugin()
    steps = [{"action": "transfer", "start": 0.0, "stop": 5.0}, {"action": "compute", "start": 5.0, "stop": 7.5}]
    plugin.transition(("block", "c.0-20.r.1"), "processing", "memory", startstops=steps)
    plugin.transition(("block", "c.0-20.r.1"), "processing", "erred")
    plugin.transition(("other", "c"), "processing", "memory", startstops=steps)
    plugin.transition("block", "waiting", "processing")
    assert (plugin.studies.busy, plugin.studies.erred) == (2.5, 1)


@pytest.mark.parametrize("cells", [1, 12, 500])
def test_page_shows_the_state(cells: int) -> None:
    """Columns of the drawn sources are the state's, for few cells and for more than have labels or intervals."""
    studies, viewers = Studies(), Viewers()
    page = Page(studies, SimpleNamespace(workers={}), viewers)
    assert "No study yet" in page.head.text
    state = studies.states["r"] = state_of(cells)
    page.tick()
    at = np.arange(cells)
    p = np.random.default_rng(0).random((cells, 2, 2))
    state.update(
        {"estimates": (at, np.array([p, 0.5 * p, 0.5 + 0.5 * p])), "done": (at, at % 100), "verdicts": {"x": "holds"}}
    )
    page.resting_until = 0.0
    page.threshold.value = "0.5"
    page.tick()
    assert np.array_equal(page.cells.data["p"], p[:, 0, 1])
    assert np.array_equal(page.cells.data["share"], (at % 100) / 100)
    shown = page.intervals.data
    assert len(shown["p"]) == min(cells, 200)
    widths = (state.upper - state.lower)[:, 0, 1]
    assert np.min(shown["upper"] - shown["lower"]) >= np.sort(widths)[-min(cells, 200)]
    assert "✓ holds" in page.foot.text
    assert viewers.spent > 0.0
    assert page.resting_until > time.monotonic()
    page.closed(None)
    assert viewers.open == 0


def test_page_escapes_what_it_shows() -> None:
    """Names, notes and reasons are text, never markup."""
    bad = "<script>alert(1)</script>"
    studies = Studies()
    state = studies.states["r"] = state_of(1, study=bad)
    state.store = f"s3://{bad}"
    state.update({"notes": [bad], "set_aside": {bad: bad}, "verdicts": {bad: "violated"}})
    page = Page(studies, SimpleNamespace(workers={}), Viewers())
    for text, count in ((page.head.text, 5), (page.foot.text, 1)):
        assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == count
        assert "<script" not in text
