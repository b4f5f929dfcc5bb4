"""`python -m mirror` is the command `mirror`."""

from mirror.cli.app import main

main()
