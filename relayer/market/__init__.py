"""Market values, venues through ccxt, aggregation and the local history."""
