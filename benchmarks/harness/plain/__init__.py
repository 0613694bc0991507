"""Plain loops over a library, each a program of its own: what a format's backend is measured against."""
