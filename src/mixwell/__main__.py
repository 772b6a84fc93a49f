"""The command line, as `python -m mixwell`."""

import sys

from mixwell.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
