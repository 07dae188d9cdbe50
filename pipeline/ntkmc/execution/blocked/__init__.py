"""Gram matrices blocked over Dask workers: the transport, the worker's side, and lambda_min of one draw.

The numerical work is in `ntkmc.linalg.blocked`.
"""
