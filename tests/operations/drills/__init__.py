"""Every alert provoked by its own fault on running processes, and ended by its runbook."""
