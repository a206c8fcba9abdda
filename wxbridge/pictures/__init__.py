"""Pictures: what to draw → PNG, JPEG or GIF bytes."""
