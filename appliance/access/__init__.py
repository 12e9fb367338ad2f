"""Who may call: named access tokens, login cookies and tickets."""
