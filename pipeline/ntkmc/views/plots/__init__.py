"""Figures of the report, of `ntkmc show --figure` and of the explorer."""
