"""Who may connect, and one Pipecat pipeline for each who does."""
