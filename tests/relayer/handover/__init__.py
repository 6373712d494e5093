"""Facts about what one half hands to the other."""
