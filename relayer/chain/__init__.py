"""Endpoints, pinned reads, events and deployment on an EVM chain."""
