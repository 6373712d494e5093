"""The operators' guide, followed block by block in an empty layer over this machine."""
