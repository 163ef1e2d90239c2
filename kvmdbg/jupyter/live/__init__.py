"""The kernel's end of the live views (docs/live-views.md).

``hub`` is the door: it looks at one VM, tells all views what it sees, and does what they ask.
``parts`` are what a snapshot consists of. Must not know: what carries the messages, or how a view
is drawn.
"""
