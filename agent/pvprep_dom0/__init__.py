"""pvprep-dom0: dom0's side of a conversion; independent of the guest's agent."""

__version__ = "0.1.0"
