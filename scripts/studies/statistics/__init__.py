"""What can be said about the difference of two variants."""
