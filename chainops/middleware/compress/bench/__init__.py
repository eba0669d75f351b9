"""Does the answer survive? Questions with their passage among others, and methods to make the passages shorter."""
