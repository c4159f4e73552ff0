"""Who asks: the login endpoints, and the access tokens that they make."""
