"""A trained FENet under the microscope: what its enhancement modules do to the labels, and what its filters learned."""
