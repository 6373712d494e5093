"""Delivery: outbox, transactions, fees, and the read-back that alone counts as success."""
