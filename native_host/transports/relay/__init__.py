"""The host as a browser's way to the daemon: a thin process that passes frames on and adds who asks.

It must stay small, since there is one for each port of each extension: neither asyncio nor the service is
imported here.
"""
