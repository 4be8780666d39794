"""System checks; filled with the database's own view of its guards."""
