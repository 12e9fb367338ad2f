"""The audit log: hash-chained lines (chain), their check (verify), the folder they are kept in."""
