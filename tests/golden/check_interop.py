#!/usr/bin/env python3
"""check_interop.py - does a model file mean to others what it means to us?

    check_interop.py MODEL.safetensors CHECK.safetensors

Opens MODEL with the safetensors library, which refuses what does not follow the format, rebuilds the network from the
names of its tensors, runs it in float64 over "check.x" of CHECK and compares with "check.y" of CHECK. CHECK may be the
same file as MODEL. Prints the largest difference.

Names: layer.I.weight [out,in] and layer.I.bias, or just I.weight and I.bias as torch.nn.Sequential has them (gaps in I
are its activations); norm.I.weight and norm.I.bias for a layer norm behind layer I; value.I.* and advantage.I.* for
the two streams of a dueling network, Q = V + A - mean A. The names do not tell the activation: --activation does, or
the key "activation" of the metadata, else it is leaky_relu.

Exit status: 0 the difference is below 1e-5 of the largest value, 1 it is not or a file is broken, 2 wrong usage,
77 skipped, because neither safetensors nor numpy is there. With numpy alone the header is taken apart by hand.
"""

import argparse
import json
import math
import struct
import sys

try:
    import safetensors
except ImportError:
    safetensors = None
try:
    import numpy
except ImportError:
    numpy = None

TOLERANCE = 1e-5
LEAKY_SLOPE = 0.01
LAYER_NORM_EPS = 1e-5
ELEMENT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
                 "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0.0 else math.exp(x) / (1.0 + math.exp(x))


ACTIVATIONS = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0.0 else LEAKY_SLOPE * x,
    "tanh": math.tanh,
    "sigmoid": sigmoid,
    "elu": lambda x: x if x > 0.0 else math.expm1(x),
}


class Broken(Exception):
    """A file, or a pair of files, that cannot be used; the text says why."""


# ---- reading -------------------------------------------------------------------------------------------------

def header_of(data):
    """The JSON header and where the tensor bytes begin."""
    if len(data) < 8:
        raise Broken("shorter than the length of its header")
    length = struct.unpack("<Q", data[:8])[0]
    if length > len(data) - 8:
        raise Broken("the header is longer than the file")
    try:
        header = json.loads(data[8:8 + length].decode("utf-8"))
    except ValueError as error:
        raise Broken("the header is not JSON: %s" % error)
    if not isinstance(header, dict):
        raise Broken("the header is not an object")
    return header, 8 + length


def read_by_library(data):
    try:
        return {name: (info["dtype"], info["shape"], bytes(info["data"]))
                for name, info in safetensors.deserialize(data)}
    except safetensors.SafetensorError as error:
        raise Broken("safetensors says: %s" % error)


def read_by_hand(data):
    header, begin = header_of(data)
    out, spans = {}, []
    for name, info in header.items():
        if name == "__metadata__":
            continue
        try:
            dtype, shape, (first, last) = info["dtype"], info["shape"], info["data_offsets"]
            size = ELEMENT_BYTES[dtype] * math.prod(shape)
            fits = 0 <= first <= last <= len(data) - begin and last - first == size and min(shape, default=0) >= 0
        except (KeyError, TypeError, ValueError):
            raise Broken("the entry of %s is incomplete" % name)
        if not fits:
            raise Broken("the bytes of %s do not fit its shape or the file" % name)
        spans.append((first, last, name))
        out[name] = (dtype, shape, data[begin + first:begin + last])
    end = 0
    for first, last, name in sorted(spans):
        if first != end:
            raise Broken("the bytes before %s overlap or belong to none" % name)
        end = last
    if end != len(data) - begin:
        raise Broken("bytes at the end belong to no tensor")
    return out


def numbers(raw, letter):
    """Little-endian floats or doubles as a list."""
    if numpy:
        return numpy.frombuffer(raw, "<" + letter).tolist()
    return [value for (value,) in struct.iter_unpack("<" + letter, raw)]


def load(path):
    """The tensors of a file by name, each as (shape, flat list of numbers), and its metadata."""
    try:
        with open(path, "rb") as f:
            data = f.read()
    except OSError as error:
        raise Broken("%s: %s" % (path, error.strerror))
    try:
        entries = read_by_library(data) if safetensors else read_by_hand(data)
        metadata = header_of(data)[0].get("__metadata__", {})
        if not isinstance(metadata, dict):
            raise Broken("the metadata is not an object")
    except Broken as error:
        raise Broken("%s: %s" % (path, error))
    tensors = {}
    for name, (dtype, shape, raw) in entries.items():
        # What is neither float nor double is none of a network's business.
        letter = {"F32": "f", "F64": "d"}.get(dtype)
        if letter:
            tensors[name] = (list(shape), numbers(raw, letter))
    return tensors, metadata


# ---- networks ------------------------------------------------------------------------------------------------

def matrix(tensors, name, columns=None):
    if name not in tensors:
        raise Broken("there is no float tensor %s" % name)
    shape, flat = tensors[name]
    if len(shape) != 2 or 0 in shape or columns not in (None, shape[1]):
        raise Broken("%s has the shape %s, which does not fit" % (name, shape))
    return [flat[i * shape[1]:(i + 1) * shape[1]] for i in range(shape[0])]


def vector(tensors, name, length):
    if name not in tensors:
        raise Broken("there is no float tensor %s" % name)
    shape, flat = tensors[name]
    if shape != [length]:
        raise Broken("%s has the shape %s, not [%d]" % (name, shape, length))
    return flat


def layer_norm(row, weight, bias):
    mean = sum(row) / len(row)
    scale = 1.0 / math.sqrt(sum((v - mean) ** 2 for v in row) / len(row) + LAYER_NORM_EPS)
    return [(v - mean) * scale * w + b for v, w, b in zip(row, weight, bias)]


def indices(tensors, prefix):
    """The sorted I of all tensors called prefix + I + ".weight"."""
    middles = [name[len(prefix):-len(".weight")] for name in tensors
               if name.startswith(prefix) and name.endswith(".weight")]
    return sorted(int(m) for m in middles if m.isdigit())


def chain(tensors, prefix, rows, activation, last_is_linear):
    """dense -> layer norm, if there is one -> activation, layer by layer."""
    order = indices(tensors, prefix)
    for i in order:
        weight = matrix(tensors, "%s%d.weight" % (prefix, i), len(rows[0]))
        bias = vector(tensors, "%s%d.bias" % (prefix, i), len(weight))
        rows = [[sum(a * b for a, b in zip(row, w)) + c for w, c in zip(weight, bias)] for row in rows]
        if prefix in ("layer.", "") and "norm.%d.weight" % i in tensors:
            scale = vector(tensors, "norm.%d.weight" % i, len(weight))
            shift = vector(tensors, "norm.%d.bias" % i, len(weight))
            rows = [layer_norm(row, scale, shift) for row in rows]
        if i != order[-1] or not last_is_linear:
            rows = [[activation(v) for v in row] for row in rows]
    return rows


def forward(tensors, rows, activation):
    prefix = "layer." if indices(tensors, "layer.") else ""
    streams = [s for s in ("value.", "advantage.") if indices(tensors, s)]
    if len(streams) == 1:
        raise Broken("there is a %s stream without its counterpart" % streams[0][:-1])
    if not streams and not indices(tensors, prefix):
        raise Broken("no tensor is called like a layer's weight")
    if not streams:
        return chain(tensors, prefix, rows, activation, True)
    features = chain(tensors, prefix, rows, activation, False)
    value = chain(tensors, "value.", features, activation, True)
    advantage = chain(tensors, "advantage.", features, activation, True)
    return [[v[0] + a - sum(row) / len(row) for a in row] for v, row in zip(value, advantage)]


def compare(model_path, check_path, activation):
    model, metadata = load(model_path)
    check, _ = load(check_path)
    activation = activation or metadata.get("activation", "leaky_relu")
    if activation not in ACTIVATIONS:
        raise Broken("%s: unknown activation %s" % (model_path, activation))
    try:
        x, wanted = matrix(check, "check.x"), matrix(check, "check.y")
    except Broken as error:
        raise Broken("%s: %s" % (check_path, error))
    try:
        got = forward(model, x, ACTIVATIONS[activation])
    except Broken as error:
        raise Broken("%s: %s" % (model_path, error))
    if (len(got), len(got[0])) != (len(wanted), len(wanted[0])):
        raise Broken("%s: check.y is %d x %d, the network gives %d x %d"
                     % (check_path, len(wanted), len(wanted[0]), len(got), len(got[0])))
    pairs = [(g, w) for grow, wrow in zip(got, wanted) for g, w in zip(grow, wrow)]
    if not all(math.isfinite(g) and math.isfinite(w) for g, w in pairs):
        raise Broken("%s: an output is not finite" % check_path)
    difference = max(abs(g - w) for g, w in pairs)
    largest = max(abs(w) for _, w in pairs)
    agrees = difference == 0.0 or difference < TOLERANCE * largest
    print("%s: %s, %d rows, largest difference %.3g, that is %.3g of the largest value: %s"
          % (model_path, activation, len(got), difference, difference / largest if largest else difference,
             "agrees" if agrees else "DIFFERS"))
    return 0 if agrees else 1


class Parser(argparse.ArgumentParser):
    def error(self, message):
        """One line instead of argparse's usage text."""
        self.exit(2, "%s: %s\n" % (self.prog, message))


def main():
    parser = Parser(description="run a safetensors model over check.x and compare with check.y")
    parser.add_argument("model", metavar="MODEL.safetensors")
    parser.add_argument("check", metavar="CHECK.safetensors", help="file with check.x [rows,in] and check.y [rows,out]")
    parser.add_argument("--activation", choices=sorted(ACTIVATIONS), help="of the hidden layers")
    options = parser.parse_args()
    if not safetensors and not numpy:
        print("skipped: neither safetensors nor numpy is installed")
        return 77
    if not safetensors:
        print("the safetensors library is not installed: reading the files by hand")
    try:
        return compare(options.model, options.check, options.activation)
    except Broken as error:
        print("check_interop.py: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
