"""A real Xen with a minimal dom0, in software emulation, and the guests that boot under it."""
