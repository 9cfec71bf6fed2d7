"""pvprep prepares Linux guests of Xen that run fully virtualised (HVM) to boot paravirtualised."""

__version__ = "0.1.0"
