"""Blocks of about a second, the most expensive cells first."""

from __future__ import annotations

from ntkmc.execution.trial_blocks import BlockQueue, CellWork
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.trial.draw import TrialConfig
from ntkmc.linalg.cost import trial_seconds
from ntkmc.theory.distributions import build

RECIPE = TrialConfig(1, "ntk", "mean")


def work(n: int, trials: int = 1000) -> CellWork:
    made = CellWork(Cell(build("sphere", trusted=True), 8, n, (2,)), seconds=trial_seconds(n, 8, (2,)))
    made.extend([(range(trials), (2,))])
    return made


def test_every_trial_is_taken_once() -> None:
    cell = work(16)
    cell.learn(10, 0.02)
    taken: list[int] = []
    while cell.runs:
        task = cell.take(RECIPE, 2)
        taken.extend(range(task.first, task.first + task.count))
    assert taken == list(range(1000))


def test_block_length_follows_the_measured_time() -> None:
    cell = work(16)
    cell.learn(100, 1.0)
    assert cell.take(RECIPE, 2).count == 100
    assert cell.take(RECIPE, 1000).count == 500  # a thousand workers need longer blocks
    assert cell.take(RECIPE, 2, block_length=7).count == 7


def test_expensive_cells_come_first() -> None:
    cells = [work(16), work(256), work(64)]
    queue = BlockQueue(cells)
    assert queue.next() is cells[1]
    cells[1].take(RECIPE, 2)
    assert queue.next() is cells[2]  # the first waits for its measurement
    cells[1].learn(1, 0.1)
    assert queue.next() is cells[1]
    for cell in cells:
        cell.closed = True
    assert queue.next() is None
