"""REDUCING: its causes, what begins and ends each, and whom it takes."""
