"""The verbs of the command line and their options, for every test that goes through all of them."""

from seqdistill.commands import COMMANDS

VERBS = {verb: command.kind for verb, command in COMMANDS.items() if command.options}
