"""Studies: variants x seeds, their runs, and what can be said about their differences."""
