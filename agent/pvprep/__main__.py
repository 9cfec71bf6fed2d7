"""python3 -m pvprep: from a checkout, with agent/ on the path."""

import sys

from .cli import main

sys.exit(main())
