"""A test of the tests: faults made by hand, each of which some test has to notice. `--help` lists them."""
