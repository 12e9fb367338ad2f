"""The voice of the bot: phrases, their synthesis, and how much of them the user has heard."""
