"""The acceptance test of a running appliance, run on the same machine.

It calls the appliance as a user does, checks the answers and the installation, and writes a report.
It brings no models. The appliance's TTS engine speaks the questions and its recognizer transcribes
the answers; the test reaches both over the engine link. A bug that affects both engines can go
unnoticed here. The tests of the repository use another recognizer.

Each check has a file with the check's name. This is the only package that imports `client`.
"""
