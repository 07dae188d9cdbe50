"""Progress of a run: lines and bars in a terminal, and the Study page of the Dask dashboard. Both subscribe to the
driver's events.
"""
