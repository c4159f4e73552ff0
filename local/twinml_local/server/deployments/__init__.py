"""What an endpoint serves: loaded models, their traffic, and how both change while it runs."""
