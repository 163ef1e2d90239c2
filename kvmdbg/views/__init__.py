"""What people see: pure functions from values to text, HTML and pictures.

``text`` and ``html`` render the same rows (``tables``, ``cpu``, ``story``), so they never differ;
``figures`` is matplotlib's only door, and each of its pictures has its words (``*_alt``).
"""
