"""What the host tells its operators: logs now. A leaf of the house. Never holds prompts or outputs."""
