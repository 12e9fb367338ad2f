"""The way to a call: the listening socket, HTTP endpoints, login and tickets, admission.

listener         the listening socket
endpoints        the HTTP application: calls, login, tickets, probes
gatekeeper       whose token, ticket or cookie it is
token_file       the one token of `gateway.token_file`
admission        decides whether an attempt may become a call
acceptance_pass  lets the acceptance test call a closed appliance
refusal_log      which refusals are logged one by one
page             the files of the page
"""
