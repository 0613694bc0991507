"""A local AI host that a parent process spawns."""

__version__ = "0.1.0"
