"""What a deployment needs: the set-up, the locked packages."""
