"""Where models come from: the hub, an address, a file, and what other programs have already downloaded.

`ModelCache` is the face for scripts.
"""

from __future__ import annotations

from native_host.models.sources.cache import ModelCache

__all__ = ["ModelCache"]
