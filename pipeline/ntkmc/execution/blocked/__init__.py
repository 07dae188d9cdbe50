"""Gram matrices distributed over Dask workers: the matrix, the worker's side, and lambda_min of one draw.

The numerical work is in `ntkmc.linalg.blocked`, which does not depend on Dask.
"""
