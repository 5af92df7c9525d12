"""`python -m streams` is the same as `twin`."""

from streams.cli import main

main()
