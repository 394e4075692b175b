"""Parameters from elsewhere."""
