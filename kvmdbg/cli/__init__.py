"""The command line ``kvmdbg``: one file per command, and main.py, which calls them.

A command is a module with NAME, HELP (one line), EXAMPLES (lines that run), STATUS (what its exit
statuses mean), ``configure(parser)`` and ``run(arguments)``, which gives the exit status.
"""
