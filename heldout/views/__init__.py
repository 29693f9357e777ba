"""The API's responses, grouped by what they are about: the API returns these models, and the client parses them."""
