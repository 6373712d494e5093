"""The law: Vyper sources and their exact Python mirror. Imports nothing of ours, no sockets."""
