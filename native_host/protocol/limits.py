"""The numbers of the wire contract, in one place. Sizes are bytes, times are seconds."""

from __future__ import annotations

PROTOCOL_VERSION = "1"

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""The longest frame that is accepted, unless a setting says otherwise; and what a peer is taken to accept."""

MAX_HELD_INPUT_BYTES = 256 * 1024 * 1024
"""What all peers together may make the host hold."""

BROWSER_MAX_FRAME_BYTES = 1_048_576
"""The longest frame that a browser accepts from a native messaging host; one byte more cuts the port."""

MIN_PEER_FRAME_BYTES = 4096
"""A peer must accept at least this much: errors and chunk envelopes have to fit somewhere."""

MAX_BATCH = 64
MAX_DEPTH = 200
MAX_ID_BYTES = 1024
"""The longest id, as JSON text: it is echoed in every notification and must not fill the frame by itself."""

CHUNK_FRAME_BYTES = 64 * 1024
"""The longest frame that carries a `$/chunk`: the fastest size in a browser."""

NONCE_BYTES = 32
NONCE_LIFETIME_S = 30.0
MAX_AUTH_FAILURES = 3
