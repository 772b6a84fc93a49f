"""Plots: each a function of a result that prepares columns, draws them, and returns both as a `Plot`."""
