"""The mathematics: features, estimators, calibration, artifacts.

Imports nothing of ours; the scoring part has no socket, clock or environment.
"""
