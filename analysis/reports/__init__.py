"""The report of a study: its figures in plain words, as JSON, as Markdown, and as one page of HTML. Pure."""
