"""From a study to finished blocks: plan, submit, commit, decide. Dask lives here and nowhere else."""
