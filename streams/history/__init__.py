"""What is asked of history: queries over time, in whatever store, beside the live path."""
