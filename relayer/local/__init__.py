"""The embedded world: a chain, three exchanges and the one clock of both, on loopback only.

For demos, replays and tests. Its keys are public, its markets are recorded or synthetic and say so.
"""
