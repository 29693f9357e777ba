"""The demonstration: networks on real digits through the API, what their gaps mean, and a measured cure of one."""
