"""Tensors in files: .safetensors, and the few checks around them.

The format: 8 bytes length N (little endian), N bytes of JSON {name: {dtype, shape, data_offsets}},
then the data, offsets counting from its start.
"""

import json
import struct

import numpy as np

TYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64, "U8": np.uint8}
NAMES = {np.dtype(type_): name for name, type_ in TYPES.items()}


def read(path):
    """{name: array} in the order of the file; the metadata is left out."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        array = np.frombuffer(body[begin:end], TYPES[entry["dtype"]])
        tensors[name] = array.reshape(entry["shape"]).copy()
    return tensors


def encode(tensors, metadata=None):
    header, body = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, array in tensors.items():
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        raw = array.tobytes()
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def write(path, tensors, metadata=None):
    path.write_bytes(encode(tensors, metadata))
    return path


def error(found, expected, floor=0.0):
    """|found - expected| / |expected|, Euclidean norms. `floor` is the size per element below which
    `expected` counts as rounding: a gradient that cancels to zero has no relative error."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        raise ValueError(f"shape {found.shape}, expected {expected.shape}")
    if not np.all(np.isfinite(found)):
        return float("inf")
    scale = max(np.linalg.norm(expected), floor * np.sqrt(expected.size), 1e-300)
    return float(np.linalg.norm(found - expected) / scale)


def typical(tensors):
    """The largest root mean square among tensors, to judge small ones by."""
    return max((float(np.sqrt(np.mean(np.square(t, dtype=np.float64)))) for t in tensors if t.size), default=0.0)


def random_weights(tensors, seed):
    """Weights for a comparison: every tensor random, so that no bias is zero and no running variance
    one. Float32 numbers, of about the size that keeps activations near 1."""
    generator = np.random.default_rng(seed)
    result = {}
    for name, array in tensors.items():
        kind = name.rsplit(".", 1)[-1]
        values = generator.standard_normal(array.shape)
        if kind == "running_var":
            values = generator.uniform(0.5, 2.0, array.shape)
        elif kind == "weight" and array.ndim >= 2:
            fan_in = max(1, array.size // array.shape[0])
            values = values * np.sqrt(2.0 / fan_in)
        elif kind == "weight":
            values = generator.uniform(0.5, 1.5, array.shape)
        else:
            values = 0.1 * values
        mask = array != 0 if kind == "weight" and array.ndim >= 2 else np.ones(array.shape, bool)
        result[name] = (values * mask).astype(np.float32)
    return result
