"""Benchmarks: one command each, side by side with the baseline."""
