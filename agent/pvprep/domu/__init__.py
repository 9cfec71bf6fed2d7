"""The domU configuration: what a guest needs from dom0, and the xl.cfg(5) file that says so."""
