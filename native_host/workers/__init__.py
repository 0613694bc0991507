"""One process for each loaded model: how it is started, spoken to, watched and ended."""
