"""What `twin up` brings when no address is configured: the broker, and the supervisor of the roles."""
