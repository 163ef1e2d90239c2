"""The notebook's side: magics, completion, and how values show themselves.

``magics`` is the door that IPython opens. A line goes ``arguments`` (by the table in ``commands``)
-> ``vm_commands``, ``stepping_commands``, ``assembling`` -> the session's VM, and comes back as a
value that ``cards`` and ``display`` know how to show. Nothing below may import this package.
"""
