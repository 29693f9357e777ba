"""The ingest: an upload is read within limits, decoded, split and audited. Imports no TensorFlow."""
