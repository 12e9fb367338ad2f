"""Random input for the parsers that strangers reach, with properties that have to hold."""
