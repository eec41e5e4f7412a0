"""The verdict and the page that shows it."""
