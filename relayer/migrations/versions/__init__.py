"""One module a migration, each named for what it brings."""
