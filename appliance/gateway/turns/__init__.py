"""Whose turn it is: when the user's turn starts and ends, and when the user interrupts the bot."""
