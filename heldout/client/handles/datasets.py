"""Keeps the import paths of version 0.2.0 working for one release."""

from heldout.client.datasets import AsyncDataset as AsyncDataset
from heldout.client.datasets import Dataset as Dataset
from heldout.client.datasets import DatasetRejected as DatasetRejected
