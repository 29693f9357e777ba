"""The parts of a plain Keras script that are the same for every job: reading data, measuring, and its end."""

DATA = '''
def read(path):
    """Images (count, height, width, channels) and labels (count,), as the service has read them."""
    if path.endswith(".npz"):
        with np.load(path, allow_pickle=False) as arrays:
            for family in (
                (("x_train", "y_train"), ("x_val", "y_val"), ("x_valid", "y_valid"), ("x_validation", "y_validation"),
                 ("x_test", "y_test")),
                (("train_images", "train_labels"), ("val_images", "val_labels"), ("test_images", "test_labels")),
                (("x", "y"),),
                (("X", "y"),),
                (("images", "labels"),),
            ):
                pairs = [(arrays[images], arrays[labels]) for images, labels in family if images in arrays]
                if pairs:
                    break
        images = np.concatenate([one for one, _ in pairs])
        labels = np.concatenate([one.reshape(-1) for _, one in pairs])
    else:  # a table of whole numbers: the pixels of an image, then its label
        table = np.loadtxt(path, delimiter=",").astype(np.int64)
        images, labels = table[:, :-1], table[:, -1]
    if np.issubdtype(images.dtype, np.floating) or images.min() < 0 or images.max() > 255:
        images = images.astype(np.float32)
    else:
        images = images.astype(np.uint8)
    return images.reshape(-1, *SHAPE), np.unique(labels, return_inverse=True)[1].astype(np.int32)


def digest_of(images, labels):
    digest = hashlib.sha256(json.dumps([images.dtype.str, SHAPE]).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels, dtype="<i4").data)
    return digest.hexdigest()


def splits_of(images, labels):
    """For each split its images, scaled to 0–1 as the network sees them, and its labels."""
    codes = np.frombuffer(zlib.decompress(base64.b64decode(SPLITS)), np.uint8)
    if len(codes) != len(images):
        sys.exit(f"This is other data: it has {len(images)} images, and the job's has {len(codes)}.")
    found = {}
    for code, split in enumerate(("train", "validation", "test"), start=1):
        rows = np.flatnonzero(codes == code)
        if not len(rows):
            continue
        if split in DIGESTS and digest_of(images[rows], labels[rows]) != DIGESTS[split]:
            sys.exit(f"This is other data: the {split} images or labels differ from those of the job.")
        scaled = (images[rows].astype(np.float32) - np.float32(LOW)) / (np.float32(HIGH) - np.float32(LOW))
        found[split] = scaled, labels[rows]
    return found
'''

MEASURE = '''
def measure(network, images, labels):
    """Mean cross-entropy in nats, without penalties, and accuracy."""
    logits = network.predict(images, batch_size=256, verbose=0).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return {"loss": float(losses.mean()), "accuracy": float((logits.argmax(axis=1) == labels).mean())}
'''

END = '''
def save(network, path):
    """With the rescaling and the softmax: raw pixels in, probabilities out."""
    pixels = keras.Input(SHAPE, name="pixels")
    scaled = keras.layers.Rescaling(1 / (HIGH - LOW), -LOW / (HIGH - LOW))(pixels)
    keras.Model(pixels, keras.layers.Softmax()(network(scaled))).save(path)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    splits = splits_of(*read(sys.argv[1]))
    network = build()
    train(network, splits)
    figures = {split: measure(network, *of_split) for split, of_split in splits.items()}
    print("split       loss     of the job  accuracy  of the job")
    for split, found in figures.items():
        job = OF_THE_JOB.get(split, {"loss": float("nan"), "accuracy": float("nan")})
        losses = f"{found['loss']:.5f}  {job['loss']:.5f}"
        print(f"{split:10}  {losses}     {found['accuracy']:.4f}    {job['accuracy']:.4f}")
    if len(sys.argv) == 3:
        save(network, sys.argv[2])


if __name__ == "__main__":
    main()
'''
