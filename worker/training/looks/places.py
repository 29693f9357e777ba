"""Places images on a map in two dimensions, so that similar images are near each other."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

# t-SNE takes time in proportion to the images; others are placed next to their nearest image on the map.
MAX_PLACED = 2_000
_COMPONENTS, _PERPLEXITY, _ITERATIONS, _NEAREST = 50, 30, 500, 3


def place_images(normalized: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return (images, 2) places from 0 to 1. The same images give the same places."""
    count = len(normalized)
    chosen = np.sort(np.random.default_rng(0).permutation(count)[:MAX_PLACED])
    components = min(_COMPONENTS, len(chosen) - 1, normalized.shape[1])
    if components < 3:
        return np.full((count, 2), 0.5, np.float16)
    reduced = PCA(components, svd_solver="randomized", random_state=0).fit_transform(normalized[chosen])
    perplexity = min(_PERPLEXITY, (len(chosen) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=0, max_iter=_ITERATIONS, n_jobs=1)
    placed = tsne.fit_transform(reduced)
    places = np.empty((count, 2))
    for first in range(0, count, 1024):
        similar = normalized[first : first + 1024] @ normalized[chosen].T
        nearest = np.argsort(-similar, axis=1)[:, :_NEAREST]
        places[first : first + 1024] = placed[nearest].mean(axis=1)
    places[chosen] = placed
    low, high = places.min(axis=0), places.max(axis=0)
    return ((places - low) / np.maximum(high - low, 1e-9)).astype(np.float16)
