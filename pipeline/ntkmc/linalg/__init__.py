"""Gram matrices, their smallest eigenvalue with a rigorous enclosure, and estimates of memory and time."""
