"""What the owner and the guardian do: the owner's as files for its Safe, the guardian's at once."""
