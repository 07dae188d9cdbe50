"""Blocks that kill their workers, and schedulers that come and go: real processes, real signals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from distributed import Future
from distributed.scheduler import KilledWorker

from ntkmc.execution import driver
from ntkmc.execution.cluster import SCHEDULER, killed_workers_message, needed_bytes
from ntkmc.execution.driver import drive
from ntkmc.execution.events import BlockDone, Event, Note
from ntkmc.execution.profiles import Profile, connect
from ntkmc.experiment.study.loading import parse_study
from stores import assert_equal_bits, trials_of

KILLER = """
import os, signal
def killer(n, d, rng):
    if n == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return rng.standard_normal((n, d))
killer.second_moment = lambda d: float(d)

def hog(n, d, rng):
    if n == 7:
        held = [bytearray(2**26) for _ in range(100)]  # bytearrays are written to: 6 GiB, one step after the other
    return rng.standard_normal((n, d))
hog.second_moment = lambda d: float(d)
"""


@pytest.fixture
def study(tmp_path: Path, small: dict[str, Any]) -> dict[str, Any]:
    (tmp_path / "killing_laws.py").write_text(KILLER)
    grid = {"distribution": ["sphere", "killing_laws:killer"], "d": [5], "n": [4, 7], "depth": [2]}
    return small | {"grid": grid, "trials": 40, "claims": ["claim-nondegenerate"]}


def profile(**more: Any) -> Profile:
    arguments = {"n_workers": 2, "threads_per_worker": 1, "processes": True} | more
    return Profile(cluster="distributed.LocalCluster", arguments=arguments, dashboard=None)


@pytest.mark.long
@pytest.mark.parametrize("law", ["killer", "hog"])
def test_a_cell_that_kills_its_workers_is_set_aside(study: dict[str, Any], tmp_path: Path, law: str) -> None:
    """By a signal, or by memory that the nanny does not grant: twice is enough, and all the others finish."""
    # The study's own check draws two rows of each law: n == 7 is met in workers alone.
    study["grid"]["distribution"][1] = f"killing_laws:{law}"
    more = {"memory_limit": "700MiB"} if law == "hog" else {}
    with connect(profile(**more)) as client:
        outcome = drive(parse_study(study, base=tmp_path, trusted=True), tmp_path / "s", client, block_length=5)
    (name,) = outcome.failed
    assert name == f"killing_laws:{law},d=5,n=7"
    assert "a block of it killed 2 workers" in outcome.failed[name]
    assert "a trial needs about 263." in outcome.failed[name]  # an idle worker's, mostly
    assert "look into the worker's or the system's log" in outcome.failed[name]
    status = trials_of(tmp_path / "s")["status"].sel(depth=2, d=5)
    assert int((status != 0).sum()) == 120


def test_the_sentence_tells_how_much_memory(small: dict[str, Any]) -> None:
    study = parse_study(small | {"grid": small["grid"] | {"n": [9000], "distribution": ["sphere"]}}, trusted=True)
    error = KilledWorker("block", None, 1)  # type: ignore[arg-type]
    said = killed_workers_message(needed_bytes(study, study.cells[0]), error, 2 * 2**30)
    assert re.search(r"a trial needs about 1\.[78]\d GiB", said)
    assert "by the memory model, a worker may use 2.00 GiB: give workers more" in said


@pytest.mark.long
def test_what_the_scheduler_forgets_to_hand_out_is_sent_again(
    tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that wait for nothing and are not handed out, as after all workers have died at once."""
    monkeypatch.setattr(driver, "_SILENCE_TIMEOUT", 1.0)
    lost: list[str] = []

    def lose(event: Event) -> None:
        if isinstance(event, BlockDone) and not lost:
            lost.extend(client.run_on_scheduler(forget_the_queue))

    study = parse_study(small | {"claims": ["claim-nondegenerate"]}, trusted=True)
    with connect(profile(n_workers=1, processes=False)) as client:
        outcome = drive(study, tmp_path / "s", client, [lose], block_length=5)
        assert lost
        assert not outcome.failed
        drive(study, tmp_path / "t", client, block_length=5)
    assert_equal_bits(trials_of(tmp_path / "s"), trials_of(tmp_path / "t"))


@pytest.mark.long
def test_a_report_that_does_not_come_is_not_waited_for(
    tmp_path: Path, client: Any, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker dies with the report of a block that is in the journal: the store tells that nothing is missing."""
    whole = Future.result
    waited: list[float | None] = []

    def once_nothing(self: Future[Any], timeout: float | None = None) -> Any:
        if not waited:
            waited.append(timeout)
            raise TimeoutError
        return whole(self, timeout)

    monkeypatch.setattr(Future, "result", once_nothing)
    booked: list[int] = []

    def count(event: Event) -> None:
        if isinstance(event, BlockDone):
            booked.append(event.trials)

    study = parse_study(small | {"claims": ["claim-nondegenerate"]}, trusted=True)
    outcome = drive(study, tmp_path / "s", client, [count], block_length=60)
    assert waited == [driver._SILENCE_TIMEOUT]
    assert not outcome.failed
    assert booked == [60] * 11  # of 12 blocks: none was computed again
    drive(study, tmp_path / "t", client)
    assert_equal_bits(trials_of(tmp_path / "s"), trials_of(tmp_path / "t"))


ONCE = """
import os, signal
from pathlib import Path

def once(n, d, rng):
    killed = Path({folder!r}, "killed")
    if n == 7 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return rng.standard_normal((n, d))
once.second_moment = lambda d: float(d)
"""


@pytest.mark.long
def test_the_last_worker_is_replaced(tmp_path: Path, study: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster has given up its only worker before the nanny could restart it."""
    monkeypatch.setattr(driver, "_SILENCE_TIMEOUT", 1.0)
    monkeypatch.setitem(SCHEDULER, "distributed.deploy.lost-worker-timeout", "0 s")
    (tmp_path / "passing_laws.py").write_text(ONCE.format(folder=str(tmp_path)))
    study["grid"]["distribution"][1] = "passing_laws:once"
    notes: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    with connect(profile(n_workers=1)) as client:
        outcome = drive(parse_study(study, base=tmp_path, trusted=True), tmp_path / "s", client, [listen])
    assert (tmp_path / "killed").exists()
    assert not outcome.failed
    assert notes == ["no worker is connected; waiting for one"]
    assert (trials_of(tmp_path / "s")["status"].sel(depth=2, d=5) != 0).all()


def forget_the_queue(dask_scheduler: Any) -> list[str]:
    """Tasks that wait for a worker are, from now on, in no list that a worker is given any from."""
    waiting = [task for task in dask_scheduler.tasks.values() if task.state == "queued"]
    for task in waiting:
        dask_scheduler.queued.remove(task)
        task.state = "waiting"
    return [str(task.key) for task in waiting]


@pytest.mark.long
def test_a_lost_connection_is_waited_for(tmp_path: Path, client: Any, small: dict[str, Any]) -> None:
    """The link to the scheduler breaks, and comes back: what was queued is asked for again, nothing is doubled."""
    from distributed import Client

    study = parse_study(small | {"trials": 300}, trusted=True)
    assert not drive(study, tmp_path / "whole", client).failed
    broken: list[int] = []

    with Client(client.scheduler.address) as mine:

        def break_the_link(event: Event) -> None:
            if isinstance(event, BlockDone) and len(broken) < 3:
                broken.append(event.trials)
                mine.loop.add_callback(mine.scheduler_comm.comm.abort)

        outcome = drive(study, tmp_path / "s", mine, [break_the_link], block_length=50)
    assert len(broken) == 3
    assert not outcome.failed
    assert_equal_bits(trials_of(tmp_path / "whole"), trials_of(tmp_path / "s"))


@pytest.mark.long
def test_the_window_follows_the_workers(tmp_path: Path, small: dict[str, Any]) -> None:
    """A run that starts without a worker goes on when one comes."""
    from distributed import Client, LocalCluster

    seen: list[Event] = []
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as mine,
    ):
        mine.loop.call_later(1.0, cluster.scale, 1)
        outcome = drive(parse_study(small, trusted=True), tmp_path / "s", mine, [seen.append])
    assert not outcome.failed
    assert (trials_of(tmp_path / "s")["planned"] > 0).any()
