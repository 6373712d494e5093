"""The operator's self-test: what is wrong, part by part, each with the command that mends it."""
