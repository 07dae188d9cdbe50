"""Mutation testing of theory, linalg and statistics: `make mutants`.

A mutant is the package with one small error: `<` in place of `<=`, another constant, swapped arguments. It survives if
all tests pass. A random sample of mutants estimates the share of errors that the fast tests do not see.

The usual tools do not fit this package. mutmut skips decorated functions, hence all compiled ones, and code outside of
functions, hence all claims, and replaces functions by trampolines, which numba cannot compile and pickle cannot find.
cosmic-ray runs the same tests for every mutant. Both let numba take the machine code of a mutant for that of another.
"""
