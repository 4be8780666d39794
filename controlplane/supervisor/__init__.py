"""Runs the whole desk on one machine: servers, simulated venues, web, worker, beat and guard."""
