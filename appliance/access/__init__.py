"""Access control: named access tokens, login cookies and tickets.

token        what a named token grants, and its text
credentials  the known tokens
store        the token store and the text of its file
file         reads and changes this file
presented    the credential in a request
verifier     compares a token with its hash
signed       login cookies and tickets
usage        for how long each token has called today
"""
