"""The acceptance test of a running appliance, run on the same machine.

It calls the appliance as a user does, checks its answers and its set-up, and writes a report. It
has no models of its own: the appliance's own voice speaks the questions, and its own recognizer
transcribes the answers, over the link to the engines. A defect that affects both can go unnoticed
here; the tests of the repository use another recognizer.

One file per check, named like the check. This is the only package that imports `client`.
"""
