"""Tiny guests that show what an engine really does: one file per family of behaviours.

``modes`` and ``guest`` are the bench, ``finding`` says what a probe is; ``stepping``,
``transfers``, ``breakpoints``, ``watching``, ``guests``, ``injecting`` and ``interrupts`` hold the
guests; ``host`` says on what they run, ``cache`` keeps the answers until the next boot.
engines/probe.py is what others use.
"""
