"""`python -m pontryagin`: the command line."""

import sys

from pontryagin.cli import main

if __name__ == "__main__":
    sys.exit(main())
