"""Figures of what a person sees: a real browser, a real JupyterLab, a real kernel.

Server, browser and pages are those of tests/browser: what is measured is what is tested, and both
need the same tools installed. Nothing there imports from here.
"""
