"""What the host remembers between requests: bytes under keys, each owner's apart, for a limited time."""

from native_host.store.interface import Store, TooLarge
from native_host.store.memory import MemoryStore

__all__ = ["MemoryStore", "Store", "TooLarge"]
