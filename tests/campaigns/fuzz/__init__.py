"""Fuzzing: mutated files and random command lines only lead to what is documented. see `--help`."""
