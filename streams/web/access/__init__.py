"""Who may do what: authentication, scopes, limits and the audit log of the web role."""
