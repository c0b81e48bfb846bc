"""The command line: one file a group of commands; ``main`` is where it starts."""
