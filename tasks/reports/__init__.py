"""Reports: page, Markdown and terminal."""
