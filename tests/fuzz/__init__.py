"""Inputs that try to harm: damaged and hostile files, tables, settings and run folders.

An input is numbered, and made from (target, seed, number) alone: `python -m tests.fuzz` runs many
in forks and says how to run one again. The law that each must keep stands in law.py.
"""
