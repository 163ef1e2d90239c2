"""What can be wrong with an instruction, one file for each kind of cause.

Each file has an ``examine(case)`` that gives the evidence it found, or nothing. Only what the
registers and tables prove is called wrong.
"""
