"""The judgement: observe, score, decide, guard, attest, deliver, confirm. Nothing imports it."""
