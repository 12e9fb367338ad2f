"""What keeps the processes running and tells the outside how they are."""
