"""Receipts in docs/results/: what they hold, the commands that re-derive them, and the tables drawn from them."""
