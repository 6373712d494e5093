"""Documents followed step by step on a real node: every command as its reader types it."""
