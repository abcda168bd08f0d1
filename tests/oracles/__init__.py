"""What other implementations give for the same input, kept in tests/data, and the programs that asked them."""
