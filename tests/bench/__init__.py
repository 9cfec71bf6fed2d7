"""How long pvprep takes, and how much memory, beside what its work costs anyway."""
