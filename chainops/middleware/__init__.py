"""The middleware that chainops brings along. They know nothing of each other, and use the public names only."""
