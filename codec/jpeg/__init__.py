"""JPEG files: their quantised coefficients, and all else that gives the very bytes back."""
