"""Parts of robustness.py."""
