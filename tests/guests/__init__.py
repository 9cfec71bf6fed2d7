"""Real Debian guests for the tests and the demonstration, and the machine that boots them."""
