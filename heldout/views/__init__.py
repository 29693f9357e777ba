"""The API's responses, one file per resource: the API returns these models, and the client parses them."""
