"""The hands: the only code that opens a socket. May import `contracts`, never `models` or `agent`."""
