"""What the host tells its operators: logs and counters. A leaf of the house. Holds no prompts, no outputs."""
