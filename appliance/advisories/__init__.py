"""Known vulnerabilities of the packages of an image, from a downloaded copy of OSV's data.

osv.py        advisories: which versions they affect
inventory.py  the packages of an image, from its SBOM
accepted.py   findings that are accepted, why and until when
report.py     the comparison, and the report as JSON, Markdown and one line
__main__.py   the command; it runs with every Python 3.11 and the package `packaging`
"""
