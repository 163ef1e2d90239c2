"""The debugger proper, written once over the ioctl line of ``engines``. ``vm`` is the door.

What a user asks for: ``commands``, ``expressions`` (a safe little language, with ``names`` and
``tokens``), ``breakpoints`` (with ``entries``). What becomes of it: ``running`` (the run loop),
``stepping`` (over, out, until), ``judging`` (whose exit is it), ``entering`` (the ioctl line),
``handlers`` (where a vector leads), ``planting`` (INT3 bytes nobody sees), ``booting``. What is
said about it: ``outcome``, ``causes``, ``reporting``, ``changes``, ``stop``. What is looked at:
``guest``, ``memory``. Must not know notebooks or pictures.
"""
