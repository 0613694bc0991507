"""Makes one model format of another, in a process of its own. Everything heavy is in `child`, which only that
process imports.
"""
