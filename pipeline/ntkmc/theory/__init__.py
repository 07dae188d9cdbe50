"""The mathematics: kernels as scalar functions, their power series, data distributions, claims."""
