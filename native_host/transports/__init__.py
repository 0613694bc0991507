"""Bytes to requests and back: stdio, Unix socket, the connection that both share, and HTTP."""
