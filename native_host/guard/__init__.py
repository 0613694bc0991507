"""Who may do what: identities, the handshake, keys. Knows no transport and no model."""
