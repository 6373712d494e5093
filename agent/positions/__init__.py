"""Every account and position: indexed from events, watched at each price, warned and kept."""
