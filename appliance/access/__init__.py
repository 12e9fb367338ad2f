"""Access control: named access tokens, login cookies and tickets."""
