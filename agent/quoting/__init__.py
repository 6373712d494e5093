"""The terms desk: what an account may have, at which price and risk, ready for the contract."""
