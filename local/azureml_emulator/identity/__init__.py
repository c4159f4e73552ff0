"""Authentication: the login endpoints, and the access tokens that they issue."""
