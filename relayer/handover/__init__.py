"""What one half of a daemon hands to the other through the database; decides and signs nothing."""
