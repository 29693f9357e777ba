"""Where version 0.2.0 had these names."""

from heldout.client.datasets import AsyncDataset as AsyncDataset
from heldout.client.datasets import Dataset as Dataset
from heldout.client.datasets import DatasetRejected as DatasetRejected
