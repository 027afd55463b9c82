"""``python -m medaug``: the command line without the installed script."""

import sys

from medaug.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
