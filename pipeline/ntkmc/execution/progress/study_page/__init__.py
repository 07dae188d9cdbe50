"""The Study page of the Dask dashboard: a driver's word, kept by the scheduler, shown to whoever looks."""
