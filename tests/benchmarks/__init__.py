"""Benchmarks are run by hand; these tests hold them to what their documents say."""
