"""The embedded default: chain, exchanges and their one clock in one process of ours."""
