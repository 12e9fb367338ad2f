"""When the user begins, ends and interrupts: strategies handed to Pipecat."""
