"""Execution of a study on a Dask cluster: plan, driver, worker, profiles. No other package imports Dask.

`batch` submits jobs to batch queues, `blocked` distributes a matrix over workers, `progress` shows the state of a run.
"""
