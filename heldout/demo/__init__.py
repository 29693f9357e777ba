"""The demonstration: three reference networks on real digits through the API, and what their gaps mean."""
