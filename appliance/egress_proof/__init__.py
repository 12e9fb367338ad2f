"""The proof that nothing leaves the appliance: `voicectl prove-offline` runs these programs.

A watcher owns an empty network namespace, in which every address leads to the loopback device. The
appliance runs in the same namespace. An attempt to reach another machine is then a packet, and
the watcher records it.

packets     what a packet is and where it goes
tally       counts of packets, as lines of JSON
probes      packets sent on purpose, which the watcher must see
sender      the command that sends them
watcher     the process that owns the namespace
statement   the statement made of the records of one proof
page        the statement as one page of text
command     the command that writes the statement
"""
