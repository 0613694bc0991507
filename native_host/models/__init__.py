"""Which models there are, what they cost, and which of them are loaded."""
