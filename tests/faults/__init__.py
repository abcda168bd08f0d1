"""A test of the tests: faults made by hand, each of which some test has to notice. `python -m tests.faults --help`."""
