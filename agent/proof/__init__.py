"""What lets anybody check a decision: evidence, its replay, its words, and the limits it met."""
