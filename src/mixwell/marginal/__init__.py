"""Marginal effects: means, contrasts, slopes, predictions and comparisons, and what is said about them."""
