"""The acceptance of a running appliance, from beside it: speaks to it as a caller does, looks at
what it is made of, and writes down whether that is what was promised.

It brings no model of its own: the appliance's own voice asks the questions and its own ears write
down the answers, over the engine link; everything between goes the way of every call, through the
program `client`. So a bug that voice and ears share can stay unseen here; the tests of the
repository hear with another recognizer.

The only room that imports `client`; only the door imports it.
"""
