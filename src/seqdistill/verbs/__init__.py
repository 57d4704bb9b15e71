"""One file a verb: what the command line, a recipe and Python do with one settings object."""
