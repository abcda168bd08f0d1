"""Synthetic street scenes, drawn by seed: every sample comes from its number alone."""
