"""Programs that the guest's own Python runs, where the bindings of its package manager are.

They import nothing of pvprep and speak Python 3.6, which EL 8's platform-python is. Arguments: the
job as JSON, `choose` (names), `fetch` (a name: resolve, refuse what does harm, download, check
signatures) or `install` (a name: the same, then the transaction); and the descriptor for status
lines, which are those that child.py reads.
"""
