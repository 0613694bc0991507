"""What goes wrong in a way that a person can put right."""


class BuildFailure(Exception):
    """Its text is one clear line, or a line and the end of a log, and is all that the user sees."""
