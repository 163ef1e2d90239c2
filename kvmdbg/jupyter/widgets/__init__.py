"""Live views as widgets: the timeline, the debug registers, the machine. anywidget's only door.

``views`` is what a notebook displays; ``esm/`` is what the browser runs. Must not know: what is in
a message, or who decides it.
"""
