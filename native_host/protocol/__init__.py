"""The wire contract: frames, envelopes, errors, message types. Pure: no I/O, no asyncio; a leaf."""
