"""One file per command of the CLI; only workflows sequence rooms."""
