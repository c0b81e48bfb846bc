"""``python -m barograph`` is the command line."""

from barograph.cli.main import main

main()
