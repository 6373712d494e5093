"""What interfaces read over HTTP. It decides nothing: what needs the agent comes through a port."""
