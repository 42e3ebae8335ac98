#!/usr/bin/env python3
"""make_golden.py - writes the fixtures of this folder: what PyTorch says, for the C tests to agree with

Every file is a .safetensors file with inputs, parameters, hyper-parameters and expected results; README.md lists the
tensors. Inputs and parameters are float32. The expected values are computed by PyTorch in float64 from exactly those
float32 numbers and rounded once, to float32, when stored. So they are better than any float32 program can do, and a
test may blame all of a difference on the code under test.

Inputs come from numpy's frozen RandomState generator, so that no version of PyTorch changes them. A draw is thrown
away and the next seed taken when it puts a number so close to a kink (ReLU at 0, a tie in an arg max, Adam's division
at a tiny gradient) that float32 rounding alone could land on the other side.

Needs torch, numpy and safetensors. The same machine and versions give the same bytes every time.

    make_golden.py                    write the fixtures beside this script
    make_golden.py --out DIR          write them elsewhere
    make_golden.py --check            write nothing; exit 1 if a stored file has other bytes than it would get
    make_golden.py --float32-error    write nothing; print how far PyTorch itself is off in float32
"""

import argparse
import os
import sys

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
import torch.nn.functional as F

LEAKY_SLOPE = 0.01
LAYER_NORM_EPS = 1e-5
HUBER_BETA = 1.0

ACTIVATIONS = {
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, LEAKY_SLOPE),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
}
KINKED = ("relu", "leaky_relu")

# What the arithmetic runs in: float64 for the fixtures, float32 for --float32-error.
DTYPE = torch.float64
# First seed asked for -> the seed that was fair, so that the float32 run takes the same draws.
SEED_TAKEN = {}


class Unlucky(Exception):
    """The draw sits too close to a kink to be a fair test of float32 code."""


def first_lucky(build, seed):
    """build(random) for the first seed from here on whose draw is fair."""
    for s in range(SEED_TAKEN.get(seed, seed), seed + 1000):
        try:
            built = build(np.random.RandomState(s))
            SEED_TAKEN[seed] = s
            return built
        except Unlucky:
            pass
    raise SystemExit("make_golden.py: no fair draw in 1000 seeds from %d" % seed)


def demand(fair):
    # In float32 the draw is known to be fair already.
    if DTYPE == torch.float64 and not bool(fair):
        raise Unlucky()


# ---- inputs --------------------------------------------------------------------------------------------------

def normal(random, *shape, scale=1.0):
    return torch.from_numpy((scale * random.standard_normal(shape)).astype(np.float32))


def uniform(random, low, high, *shape):
    return torch.from_numpy(random.uniform(low, high, shape).astype(np.float32))


def scalar(value):
    return torch.tensor([value], dtype=torch.float32)


def ints(values):
    return torch.as_tensor(np.asarray(values), dtype=torch.int32)


def dense(random, prefix, sizes):
    """Weights and biases of a chain of dense layers, within the bounds of torch.nn.Linear's initialiser."""
    out = {}
    for i, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:])):
        bound = 1.0 / np.sqrt(fan_in)
        out["%s.%d.weight" % (prefix, i)] = uniform(random, -bound, bound, fan_out, fan_in)
        out["%s.%d.bias" % (prefix, i)] = uniform(random, -bound, bound, fan_out)
    return out


# ---- networks ------------------------------------------------------------------------------------------------

def leaf(tensors):
    """The same numbers in the working precision, ready to collect gradients."""
    return {name: t.to(DTYPE).clone().requires_grad_(True) for name, t in tensors.items()}


def chain(params, prefix, x, activation, last_is_linear):
    """dense -> layer norm (if "norm.I.*" exists) -> activation, for every layer of the prefix."""
    count = sum(1 for name in params if name.startswith(prefix + ".") and name.endswith(".weight"))
    for i in range(count):
        x = F.linear(x, params["%s.%d.weight" % (prefix, i)], params["%s.%d.bias" % (prefix, i)])
        if prefix == "layer" and "norm.%d.weight" % i in params:
            x = F.layer_norm(x, x.shape[-1:], params["norm.%d.weight" % i], params["norm.%d.bias" % i],
                             LAYER_NORM_EPS)
        if i + 1 < count or not last_is_linear:
            if activation in KINKED:
                demand(x.detach().abs().min() > 1e-5)
            x = ACTIVATIONS[activation](x)
    return x


def forward(params, x, activation):
    """A plain network, or a dueling one if there are value and advantage streams: Q = V + A - mean A."""
    if "value.0.weight" not in params:
        return chain(params, "layer", x, activation, True)
    features = chain(params, "layer", x, activation, False)
    value = chain(params, "value", features, activation, True)
    advantage = chain(params, "advantage", features, activation, True)
    return value + advantage - advantage.mean(dim=1, keepdim=True)


def prefixed(prefix, tensors):
    return {prefix + name: t for name, t in tensors.items()}


def grads(params):
    return {"grad." + name: p.grad for name, p in params.items()}


# ---- fixtures: each returns a dictionary of tensors ----------------------------------------------------------

def regression(weights, x, y, activation):
    """Forward, mean squared error over all elements, and the gradient of everything."""
    leaves = leaf(dict(weights, x=x))
    params = {name: t for name, t in leaves.items() if name != "x"}
    out = forward(params, leaves["x"], activation)
    loss = F.mse_loss(out, y.to(DTYPE))
    loss.backward()
    return dict(weights, x=x, y=y, out=out, loss=loss.reshape(1), **grads(leaves))


def mlp(random, sizes, batch, activation):
    weights = dense(random, "layer", sizes)
    return regression(weights, normal(random, batch, sizes[0]), normal(random, batch, sizes[-1]), activation)


def layer_norm(random):
    weights = dense(random, "layer", (6, 20, 4))
    weights["norm.0.weight"] = uniform(random, 0.5, 1.5, 20)
    weights["norm.0.bias"] = uniform(random, -0.3, 0.3, 20)
    out = regression(weights, normal(random, 7, 6), normal(random, 7, 4), "relu")
    return dict(out, eps=scalar(LAYER_NORM_EPS))


def dueling_weights(random, inputs, hidden, actions):
    weights = dense(random, "layer", (inputs, hidden, hidden))
    weights.update(dense(random, "value", (hidden, hidden, 1)))
    weights.update(dense(random, "advantage", (hidden, hidden, actions)))
    return weights


def dueling(random):
    weights = dueling_weights(random, 3, 64, 3)
    x, y = normal(random, 8, 3), normal(random, 8, scale=1.5)
    action = ints(random.randint(0, 3, 8))
    leaves = leaf(dict(weights, x=x))
    params = {name: t for name, t in leaves.items() if name != "x"}
    q = forward(params, leaves["x"], "leaky_relu")
    chosen = q.gather(1, action.long().reshape(-1, 1)).reshape(-1)
    away = (chosen - y).abs().detach()
    demand((away > HUBER_BETA).any() and (away < HUBER_BETA).any())
    loss = F.smooth_l1_loss(chosen, y.to(DTYPE), beta=HUBER_BETA)
    loss.backward()
    return dict(weights, x=x, y=y, action=action, q=q, loss=loss.reshape(1), **grads(leaves))


def activations():
    """Value and slope of every activation, from far left to far right and close to zero."""
    near = np.array([1e-6, 1e-4, 1e-3, 1e-2])
    grid = np.linspace(-20.0, 20.0, 55)
    x = torch.from_numpy(np.concatenate([[0.0], -near, near, grid[grid != 0]]).astype(np.float32))
    out = {"x": x}
    for name, function in ACTIVATIONS.items():
        at = leaf({"x": x})["x"]
        y = function(at)
        y.sum().backward()
        out["y." + name], out["slope." + name] = y, at.grad
    return out


def losses(random):
    """MSE and Huber, plain and masked. A masked-out element counts neither in the sum nor in the number of elements."""
    prediction, target = normal(random, 4, 3, scale=2.0), normal(random, 4, 3)
    mask = ints([[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    away = (prediction - target).abs()[mask.bool()]
    demand((away > HUBER_BETA).sum() >= 2 and (away < HUBER_BETA).sum() >= 2)
    out = {"prediction": prediction, "target": target, "mask": mask, "beta": scalar(HUBER_BETA)}
    for name, function in (("mse", F.mse_loss), ("huber", lambda a, b: F.smooth_l1_loss(a, b, beta=HUBER_BETA))):
        for suffix, keep in (("", torch.ones_like(mask).bool()), ("_masked", mask.bool())):
            p = leaf({"p": prediction})["p"]
            loss = function(p[keep], target.to(DTYPE)[keep])
            loss.backward()
            out["loss." + name + suffix], out["grad." + name + suffix] = loss.reshape(1), p.grad
    return out


def softmax(random):
    x = normal(random, 5, 7)
    x[1] = 0.25                                     # all equal
    x[2] *= 10.0
    x[3] = x[3] + 1000.0                            # overflows unless the maximum is taken off
    x[4] = torch.linspace(-60.0, 60.0, 7)           # nearly all of it in one place
    upstream = normal(random, 5, 7)
    out = {"x": x, "upstream": upstream}
    for name, function in (("softmax", F.softmax), ("log_softmax", F.log_softmax), ("logsumexp", torch.logsumexp)):
        at = leaf({"x": x})["x"]
        out[name] = function(at, dim=1)
        if out[name].dim() == 2:
            out[name].backward(upstream.to(DTYPE))
            out["grad." + name] = at.grad
    return out


def clip(random):
    """Global-norm clipping: all gradients times min(1, max_norm / (norm + 1e-6))."""
    given = {"a": normal(random, 4, 5), "b": normal(random, 7)}
    out = prefixed("given.", given)
    for case, max_norm in (("tight", 1.0), ("loose", 100.0)):
        params = leaf(given)
        for name, p in params.items():
            p.grad = given[name].to(DTYPE).clone()
        norm = torch.nn.utils.clip_grad_norm_(params.values(), max_norm)
        out["max_norm." + case], out["norm"] = scalar(max_norm), norm.reshape(1)
        out.update({"%s.%s" % (case, name): p.grad for name, p in params.items()})
    return out


OPTIMIZERS = {
    "sgd": (torch.optim.SGD, dict(lr=0.05)),
    "sgd_momentum": (torch.optim.SGD, dict(lr=0.05, momentum=0.9)),
    "sgd_nesterov": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, nesterov=True)),
    "rmsprop": (torch.optim.RMSprop, dict(lr=0.002, alpha=0.99, eps=1e-8)),
    "adam": (torch.optim.Adam, dict(lr=0.003, betas=(0.9, 0.999), eps=1e-8)),
    "adamw": (torch.optim.AdamW, dict(lr=0.003, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)),
}


def optim(random):
    """Five steps of every optimiser over the same 37 parameters and the same gradients."""
    start, grad = normal(random, 37), normal(random, 5, 37)
    demand(start.abs().min() > 0.02)
    grad[:, 0] = 0.0                                # never a gradient at all
    grad[0, 1], grad[2, 2], grad[3:, 3] = 0.0, 0.0, 0.0
    grad[2] *= 30.0                                 # a burst that the second moments must remember
    grad[:, 4:8] *= 1e-9                            # well below Adam's epsilon
    grad[1, 8:12] = torch.tensor([1e-9, -1e-9, 1e-8, -1e-8])
    out = {"start": start, "grad": grad}
    for name, (make, settings) in OPTIMIZERS.items():
        p = leaf({"p": start})["p"]
        optimizer = make([p], **settings)
        after = []
        for g in grad:
            p.grad = g.to(DTYPE)
            optimizer.step()
            after.append(p.detach().clone())
        out["after." + name] = torch.stack(after)
        out["lr." + name] = scalar(settings["lr"])
    out.update({"momentum": scalar(0.9), "alpha": scalar(0.99), "beta1": scalar(0.9), "beta2": scalar(0.999),
                "eps": scalar(1e-8), "weight_decay": scalar(0.01)})
    return out


def dqn(random, make_weights):
    """One learning step of DQN from 16 transitions: targets, loss, clipped gradients, Adam, soft update."""
    gamma, lr, tau, max_norm = 0.95, 1e-3, 0.005, 1.0
    # Weights larger than a fresh network's, so that the two networks disagree now and then.
    online = {name: w * 2.0 for name, w in make_weights(random).items()}
    target = {name: w * 2.0 for name, w in make_weights(random).items()}
    obs, next_obs = uniform(random, 0.0, 1.0, 16, 3), uniform(random, 0.0, 1.0, 16, 3)
    reward = normal(random, 16, scale=2.0)
    action = ints(random.randint(0, 3, 16))
    terminated = ints([1 if i in (3, 10, 15) else 0 for i in range(16)])
    next_mask = ints(random.randint(0, 2, (16, 3)))
    next_mask[torch.arange(16), torch.from_numpy(random.randint(0, 3, 16))] = 1
    out = dict(prefixed("online.", online), **prefixed("target.", target))
    out.update(obs=obs, action=action, reward=reward, next_obs=next_obs, terminated=terminated, next_mask=next_mask,
               gamma=scalar(gamma), lr=scalar(lr), tau=scalar(tau), max_norm=scalar(max_norm))

    def q_values(weights, x):
        return forward({name: w.to(DTYPE) for name, w in weights.items()}, x.to(DTYPE), "leaky_relu")

    q_online, q_next_online = q_values(online, obs), q_values(online, next_obs)
    q_next_target = q_values(target, next_obs)
    out.update(q=q_online, q_next_online=q_next_online, q_next_target=q_next_target)

    td = {}
    for name, chooser, mask in (("dqn", q_next_target, None), ("double", q_next_online, None),
                                ("dqn_masked", q_next_target, next_mask), ("double_masked", q_next_online, next_mask)):
        allowed = chooser if mask is None else chooser.masked_fill(mask == 0, -np.inf)
        best = allowed.topk(2, dim=1).values
        demand((best[:, 0] - best[:, 1]).min() > 1e-4)
        value = q_next_target.gather(1, allowed.argmax(dim=1, keepdim=True)).reshape(-1)
        td[name] = reward.to(DTYPE) + gamma * value * (1 - terminated).to(DTYPE)
        out["td." + name] = td[name]
    # Each variant must tell itself apart from the others, or a test of it proves nothing.
    names = list(td)
    for i, one in enumerate(names):
        for two in names[i + 1:]:
            demand(((td[one] - td[two]).abs() > 0.01).sum() >= 2)

    for name in ("dqn", "double_masked"):
        params = leaf(online)
        chosen = forward(params, obs.to(DTYPE), "leaky_relu").gather(1, action.long().reshape(-1, 1)).reshape(-1)
        away = (chosen - td[name]).abs().detach()
        demand((away > HUBER_BETA).sum() >= 3 and (away < HUBER_BETA).sum() >= 3)
        loss = F.smooth_l1_loss(chosen, td[name], beta=HUBER_BETA)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(params.values(), max_norm)
        demand(norm > 1.2 * max_norm)
        flat = torch.cat([p.grad.reshape(-1) for p in params.values()]).abs()
        demand(flat.min() > 2e-7)                   # Adam's first step is lr * g / (|g| + 1e-8): steep near zero
        out["loss." + name], out["norm." + name] = loss.reshape(1), norm.reshape(1)
        out.update({"grad.%s.%s" % (name, key): p.grad.clone() for key, p in params.items()})
        torch.optim.Adam(params.values(), lr=lr, betas=(0.9, 0.999), eps=1e-8).step()
        for key, p in params.items():
            out["online_after.%s.%s" % (name, key)] = p
            out["target_after.%s.%s" % (name, key)] = tau * p + (1.0 - tau) * target[key].to(DTYPE)
    return out


def torch_model():
    """What a PyTorch user would hand us: the state dict of a small Sequential, as it is."""
    random = np.random.RandomState(900)
    model = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.LeakyReLU(LEAKY_SLOPE),
                                torch.nn.Linear(64, 64), torch.nn.LeakyReLU(LEAKY_SLOPE), torch.nn.Linear(64, 3))
    for p in model.parameters():
        bound = 1.0 / np.sqrt(p.shape[-1] if p.dim() == 2 else 64)
        p.data = uniform(random, -bound, bound, *p.shape)
    state = {name: p.detach().clone() for name, p in model.state_dict().items()}
    x = uniform(random, 0.0, 1.0, 10, 3)
    return state, {"check.x": x, "check.y": model.to(DTYPE)(x.to(DTYPE))}


# ---- files ---------------------------------------------------------------------------------------------------

def build_all():
    """Every fixture as tensors: file name without ending -> dictionary."""
    out = {}
    for i, name in enumerate(ACTIVATIONS):
        out["mlp_" + name] = first_lucky(lambda r, name=name: mlp(r, (5, 16, 7, 3), 6, name), 100 + 1000 * i)
    out["mlp_wide_9"] = first_lucky(lambda r: mlp(r, (9, 64, 64, 1), 33, "relu"), 6000)
    out["mlp_wide_3"] = first_lucky(lambda r: mlp(r, (3, 40, 24, 3), 64, "relu"), 7000)
    out["layer_norm"] = first_lucky(layer_norm, 8000)
    out["dueling"] = first_lucky(dueling, 9000)
    out["activations"] = activations()
    out["losses"] = first_lucky(losses, 10000)
    out["softmax"] = first_lucky(softmax, 11000)
    out["clip"] = first_lucky(clip, 12000)
    out["optim"] = first_lucky(optim, 13000)
    out["dqn_plain"] = first_lucky(lambda r: dqn(r, lambda s: dense(s, "layer", (3, 16, 16, 3))), 14000)
    out["dqn_dueling"] = first_lucky(lambda r: dqn(r, lambda s: dueling_weights(s, 3, 16, 3)), 15000)
    out["torch_model"], out["torch_model_check"] = torch_model()
    return out


def file_bytes(name, tensors):
    """One fixture as the bytes of its file. Metadata has one key only: with more, their order would change by run."""
    stored = {key: t.detach().contiguous() for key, t in tensors.items()}
    stored = {key: t if t.dtype == torch.int32 else t.to(torch.float32) for key, t in stored.items()}
    for key, t in stored.items():
        if t.is_floating_point() and not bool(torch.isfinite(t).all()):
            raise SystemExit("make_golden.py: %s of %s is not finite" % (key, name))
    if name == "torch_model":
        return safetensors.torch.save(stored)
    return safetensors.numpy.save({key: t.numpy() for key, t in stored.items()}, {"fixture": name})


def write(path, data):
    temporary = path + ".part"
    with open(temporary, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


def float32_error():
    """The yardstick for tolerances: PyTorch in float32 against the stored values, largest error over largest value."""
    global DTYPE
    exact = build_all()
    DTYPE = torch.float32
    rough = build_all()
    for name in exact:
        worst, where = 0.0, "-"
        for key, t in exact[name].items():
            if t.dtype == torch.int32 or float(t.abs().max()) == 0.0:
                continue
            error = float((t.double() - rough[name][key].double()).abs().max() / t.double().abs().max())
            if error > worst:
                worst, where = error, key
        print("%-20s %.1e  %s" % (name, worst, where))


class Parser(argparse.ArgumentParser):
    def error(self, message):
        """One line instead of argparse's usage text."""
        self.exit(2, "%s: %s\n" % (self.prog, message))


def main():
    parser = Parser(description="write the PyTorch fixtures that the C tests read")
    parser.add_argument("--out", metavar="DIR", default=os.path.dirname(os.path.abspath(__file__)),
                        help="folder to write to, or to check (default: that of this script)")
    parser.add_argument("--check", action="store_true", help="write nothing, compare with the files that are there")
    parser.add_argument("--float32-error", action="store_true", help="print PyTorch's own float32 error per file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    if options.float32_error:
        float32_error()
        return 0
    if not os.path.isdir(options.out):
        print("make_golden.py: --out %s: no such folder" % options.out, file=sys.stderr)
        return 2
    total, different = 0, 0
    for name, tensors in build_all().items():
        path = os.path.join(options.out, name + ".safetensors")
        data = file_bytes(name, tensors)
        total += len(data)
        if options.check:
            try:
                with open(path, "rb") as f:
                    same = f.read() == data
            except OSError:
                same = False
            if not same:
                print("%s.safetensors differs" % name)
                different += 1
        else:
            write(path, data)
            print("%-20s %6d bytes  %3d tensors" % (name, len(data), len(tensors)))
    print("%d bytes in all" % total)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
