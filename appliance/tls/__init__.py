"""TLS: the site's own certificate authority, what it issues, and the gateway's certificate.

policy        where calls may be unencrypted
serving       the gateway's certificate, which may change while it runs
examine       checks a certificate and its key
issue         makes authorities and certificates
names         the names that a certificate is issued for
folder        the files on the host
instructions  how to trust the site's CA, by system
command       the command that makes, shows, renews and exports them
"""
