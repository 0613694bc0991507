"""What differs by operating system, each behind a small function. A leaf of the house."""
