"""Where models come from: the hub, an address, a file, and what other programs have already downloaded."""
