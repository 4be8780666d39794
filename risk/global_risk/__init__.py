"""Global risk: what is measured of every account, and the level that follows."""
