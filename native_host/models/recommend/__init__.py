"""Which models would suit this machine: a table of well-known ones, a measured speed of memory, a formula."""
