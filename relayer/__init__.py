"""The hands: the only code that opens a socket. Imports `contracts`, never `models`, `agent`."""
