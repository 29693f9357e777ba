"""The parts of a script that are the same for every job: measuring, and saving the model."""

MEASURE = '''
def measure(network, images, labels):
    """Mean cross-entropy in nats, without penalties, and accuracy."""
    logits = network.predict(images, batch_size=256, verbose=0).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return {"loss": float(losses.mean()), "accuracy": float((logits.argmax(axis=1) == labels).mean())}
'''

SAVE = '''
def save(network, path):
    """With the rescaling and the softmax: raw pixels in, probabilities out."""
    pixels = keras.Input(SHAPE, name="pixels")
    scaled = keras.layers.Rescaling(1 / (HIGH - LOW), -LOW / (HIGH - LOW))(pixels)
    keras.Model(pixels, keras.layers.Softmax()(network(scaled))).save(path)
'''
