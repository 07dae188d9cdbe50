""" "Study" page of the Dask dashboard, fed by the driver through the scheduler."""
