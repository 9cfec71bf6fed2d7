"""python3 -m pvprep_dom0"""

import sys

from pvprep_dom0.cli import main

if __name__ == "__main__":
    sys.exit(main())
