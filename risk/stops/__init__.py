"""The emergency stop: what trips it, the sweep, what is watched while it stands, re-arming, drills."""
