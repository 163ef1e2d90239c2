"""Figures of a class: its submissions graded, what endless ones cost, what there is to download.

The submissions are those of tests/labs: what is measured is what is tested. Nothing there imports
from here.
"""
