"""The model of quantised coefficients of JPEG files."""
