"""Batch queues: commands and answers of each scheduler, workers and driver as jobs, and the status of a run."""
