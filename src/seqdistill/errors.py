"""The one exception for a user's mistakes: the command line prints it without a traceback and exits with code 2."""


class UserError(ValueError):
    """A mistake in the user's input: the message names file and line, what was expected, what was found, what to do."""
