"""`python -m ntkmc`."""

from ntkmc.cli import main

main()
