"""Exchanges that speak their venue's own protocol on loopback, to unmodified ccxt."""
