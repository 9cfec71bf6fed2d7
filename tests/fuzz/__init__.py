"""Every parser and rewriter under coverage-guided fuzzing: `python -m tests.fuzz`, `make fuzz`.

What is promised of each stands in the tables of targets (editors, boot, images, guests); what once
broke a promise lies in regressions/ and is replayed by every test run, which needs no atheris.
"""
