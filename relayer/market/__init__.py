"""What markets say: venues, their quotes, books and candles. Judges nothing, scores nothing."""
