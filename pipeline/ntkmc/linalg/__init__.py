"""Gram matrices, their smallest eigenvalue with a rigorous enclosure, and what both cost in memory."""
