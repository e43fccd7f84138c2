"""What runs the networks: in this process, or as other models of the same server."""
