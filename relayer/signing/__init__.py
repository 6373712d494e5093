"""Keys, the rules a signer checks before it signs, and the quorum."""
