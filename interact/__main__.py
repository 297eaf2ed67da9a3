"""``python -m interact``: the command line."""

from interact.command.main import main

main()
