"""``python -m sklearn_provenance``: stores of attributions on the command line."""

import sys

from ._command_line import main

if __name__ == "__main__":
    sys.exit(main())
