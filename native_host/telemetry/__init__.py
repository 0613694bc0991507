"""What the host tells its operators: logs and counters. A leaf of the house. Never holds prompts or outputs."""
