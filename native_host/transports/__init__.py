"""Bytes to requests and back: stdio, Unix socket, and the connection that both share."""
