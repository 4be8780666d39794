"""The rules of the gate: small pure functions, each named for what it permits.

A rule returns None where it permits and a Breach where it does not. A fact it needs and does not
have is a breach with the missing fact's own code. `registry` lists which rules apply to what.
"""
