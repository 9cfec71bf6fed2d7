"""Package managers, one class each, and what is read from their databases without starting them."""
