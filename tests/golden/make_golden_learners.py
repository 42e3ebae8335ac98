#!/usr/bin/env python3
"""make_golden_learners.py - writes the fixtures of the recurrent and set-structured networks and of the learners

As make_golden.py, which it borrows from and whose options it takes: PyTorch in float64 from stored float32 numbers,
numpy's frozen generator, no draw close to a kink. README.md lists the tensors.

What is computed here knows no padding: every sequence runs alone over the steps that it has, every set over the items
that it has. A program that pads agrees only if its padding reaches nothing. Where a learner draws noise, so does this,
by the same generator from the same seed.
"""

import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.dont_write_bytecode = True  # no __pycache__ among the fixtures
import make_golden as golden
from make_golden import demand, ints, normal, scalar, uniform

MASK64 = (1 << 64) - 1


# ---- the generator of rllb.h ---------------------------------------------------------------------------------

class Generator:
    """xoshiro256++ from SplitMix64; normal draws by the polar method, of whose pair the second is thrown away."""

    def __init__(self, seed, stream):
        counter = [stream]
        counter[0] = seed ^ self.split(counter)
        self.s = [self.split(counter) for _ in range(4)]

    @staticmethod
    def split(counter):
        counter[0] = z = (counter[0] + 0x9e3779b97f4a7c15) & MASK64
        z = ((z ^ (z >> 30)) * 0xbf58476d1ce4e5b9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94d049bb133111eb) & MASK64
        return z ^ (z >> 31)

    def bits(self):
        s = self.s
        total = (s[0] + s[3]) & MASK64
        out = ((((total << 23) | (total >> 41)) & MASK64) + s[0]) & MASK64
        t = (s[1] << 17) & MASK64
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = ((s[3] << 45) | (s[3] >> 19)) & MASK64
        return out

    def fraction(self):
        return (self.bits() >> 11) / 9007199254740992.0

    def single(self):
        return (self.bits() >> 40) / 16777216.0

    def normal(self):
        while True:
            u, v = 2 * self.fraction() - 1, 2 * self.fraction() - 1
            s = u * u + v * v
            if 0 < s < 1:
                return u * math.sqrt(-2 * math.log(s) / s)


# ---- networks ------------------------------------------------------------------------------------------------

class Net:
    """The shape of a network, in the words of rllb_nn_net_desc."""

    def __init__(self, inputs=0, outputs=0, item_inputs=0, item_outputs=0, hidden=(), gru=0, after=(), dueling=0,
                 heads=1, activation="tanh"):
        self.inputs, self.outputs, self.heads = inputs, outputs, heads
        self.item_inputs, self.item_outputs = item_inputs, item_outputs
        self.hidden, self.gru, self.after, self.dueling = hidden, gru, after, dueling
        self.activation = activation

    def draw(self, random, scale=1.5):
        """Weights somewhat larger than a fresh network's, so that networks differ by more than rounding."""
        out = {}

        def dense(name, fan_in, fan_out, bias=True):
            bound = scale / np.sqrt(fan_in)
            out[name + ".weight"] = uniform(random, -bound, bound, fan_out, fan_in)
            if bias:
                out[name + ".bias"] = uniform(random, -bound, bound, fan_out)

        width, name, at = self.item_inputs or self.inputs, "layer", 0
        for i, units in enumerate(self.hidden):
            dense("layer.%d" % i, width, units)
            width, at = units, i + 1
        if self.gru:
            bound = scale / np.sqrt(self.gru)
            for part, fan_in in (("ih", width), ("hh", self.gru)):
                out["gru.weight_" + part] = uniform(random, -bound, bound, 3 * self.gru, fan_in)
                out["gru.bias_" + part] = uniform(random, -bound, bound, 3 * self.gru)
            width, name, at = self.gru, "after", 0
        if self.item_inputs:
            pooled, first = 2 * width + self.inputs, (self.after or (width,))[0]
            dense("context.0", pooled, first)
            dense("after.0", width, first, False)
            for i in range(1, len(self.after)):
                dense("after.%d" % i, self.after[i - 1], self.after[i])
            dense("after.%d" % max(1, len(self.after)), (self.after or (first,))[-1], self.item_outputs)
            if self.outputs:
                dense("common.0", pooled, first)
                dense("common.1", first, self.outputs)
            return out
        for units in self.after:
            dense("after.%d" % at, width, units)
            width, at = units, at + 1
        if self.dueling:
            for stream, fan_out in (("value", 1), ("advantage", self.outputs)):
                dense(stream + ".0", width, self.dueling)
                dense(stream + ".1", self.dueling, fan_out)
        else:
            dense("%s.%d" % (name, at), width, self.outputs)
        return out

    def act(self, z):
        if self.activation in golden.KINKED:
            demand(z.detach().abs().min() > 1e-5)
        return golden.ACTIVATIONS[self.activation](z)

    def step(self, p, globals_, items, state):
        """One step of one sequence: inputs that concern all [inputs], of items [n][item_inputs] -> outputs one row per
        item, then `outputs` numbers; and the new state."""
        def dense(name, x):
            return F.linear(x, p[name + ".weight"], p.get(name + ".bias"))

        x = items if self.item_inputs else globals_.reshape(1, -1)
        for i in range(len(self.hidden)):
            x = self.act(dense("layer.%d" % i, x))
        if self.gru:
            state = torch.gru_cell(x, state, p["gru.weight_ih"], p["gru.weight_hh"], p["gru.bias_ih"], p["gru.bias_hh"])
            x = state
        if self.item_inputs:
            if len(x) > 1:
                best = x.detach().topk(2, dim=0).values
                demand((best[0] - best[1]).min() > 1e-5)
            none = torch.zeros(x.shape[1], dtype=x.dtype)
            pooled = torch.cat([x.mean(dim=0) if len(x) else none, x.max(dim=0).values if len(x) else none, globals_])
            y = self.act(dense("after.0", x) + dense("context.0", pooled)) if len(x) else x.new_zeros(0, 1)
            last = max(1, len(self.after))
            for i in range(1, last):
                y = self.act(dense("after.%d" % i, y))
            y = dense("after.%d" % last, y) if len(x) else x.new_zeros(0, self.item_outputs)
            if not self.outputs:
                return y, pooled.new_zeros(0), state
            return y, dense("common.1", self.act(dense("common.0", pooled))), state
        layers = len(self.hidden) if not self.gru else 0
        for i in range(len(self.after)):
            x = self.act(dense("after.%d" % i, x))
            layers += 1
        if not self.dueling:
            return None, dense("%s.%d" % ("after" if self.gru else "layer", layers), x).reshape(-1), state
        value = dense("value.1", self.act(dense("value.0", x))).reshape(1, 1)
        advantage = dense("advantage.1", self.act(dense("advantage.0", x))).reshape(self.heads, -1)
        return None, (value + advantage - advantage.mean(dim=1, keepdim=True)).reshape(-1), state

    def run(self, p, xs, state=None, burn=0):
        """A whole sequence of (globals, items); what lies before step `burn` only warms the state up."""
        out = []
        if self.gru and state is None:
            rows = len(xs[0][1]) if self.item_inputs else 1
            state = torch.zeros(rows, self.gru, dtype=golden.DTYPE)
        for t, (globals_, items) in enumerate(xs):
            if self.gru and burn and t == burn:
                state = state.detach()
            y, common, state = self.step(p, globals_, items, state)
            out.append((y, common))
        return out, state

    @property
    def states(self):
        return self.gru


def leaves(tensors):
    return golden.leaf(tensors)


def sequences(random, net, lengths, items, most, burn):
    """Sequences of unequal length through one network, back through time: the loss is the mean square error over what
    is there and behind the burn-in."""
    rows, steps = len(lengths), max(lengths)
    weights = net.draw(random)
    width = net.inputs + most * net.item_inputs
    wide = net.outputs + most * net.item_outputs
    x, y = normal(random, steps, rows, width, scale=0.8), normal(random, steps, rows, wide)
    start = uniform(random, -0.5, 0.5, rows, most * net.states if net.item_inputs else net.states)
    for r, length in enumerate(lengths):
        x[length:, r] = 0
        y[length:, r] = 0
    out = dict(golden.prefixed("net.", weights), x=x, y=y, state=start, length=ints(lengths), items=ints(items),
               burn=ints([burn]))
    for name, skip in (("", 0), ("burn.", burn)):
        p, inputs, state0 = leaves(weights), leaves({"x": x})["x"], start.to(golden.DTYPE)
        answer = torch.zeros(steps, rows, wide, dtype=golden.DTYPE)
        after = torch.zeros_like(state0)
        loss, counted = 0.0, 0
        for r, length in enumerate(lengths):
            n = items[r]
            xs = [(inputs[t, r, :net.inputs], inputs[t, r, net.inputs:].reshape(most, -1)[:n] if net.item_inputs else
                   None) for t in range(length)]
            state = state0[r].reshape(-1, net.gru)[:n]
            got, state = net.run(p, xs, state, skip)
            after[r, :state.numel()] = state.detach().reshape(-1)
            for t, (each, common) in enumerate(got):
                if net.item_inputs:
                    answer[t, r, :each.numel()] = each.detach().reshape(-1)
                    answer[t, r, most * net.item_outputs:] = common.detach()
                    wanted = [y[t, r, :each.numel()].reshape(each.shape), y[t, r, most * net.item_outputs:]]
                    parts = [each - wanted[0].to(golden.DTYPE), common - wanted[1].to(golden.DTYPE)]
                else:
                    answer[t, r] = common.detach()
                    parts = [common - y[t, r].to(golden.DTYPE)]
                if t >= skip:
                    loss = loss + sum((part ** 2).sum() for part in parts)
                    counted += sum(part.numel() for part in parts)
        loss = loss / counted
        loss.backward()
        if not name:
            out.update(out=answer, state_after=after)
        out[name + "loss"], out[name + "grad_x"] = loss.reshape(1), inputs.grad
        out.update(golden.prefixed(name + "grad.", {key: t.grad for key, t in p.items()}))
    return out


# ---- what agents see and do ----------------------------------------------------------------------------------

class Space:
    """rllb_nn_space."""

    def __init__(self, observations=0, item_observations=0, items=0, heads=1, common=0, choices=0, last_action=False,
                 agent_id=False):
        self.observations, self.item_observations, self.items = observations, item_observations, items
        self.set = item_observations > 0
        self.heads = 0 if self.set else heads
        self.common, self.choices, self.last_action, self.agent_id = common, choices, last_action, agent_id
        self.width = observations + items * item_observations
        self.actions = items + common if self.set else heads

    def decisions(self, items):
        """Indices of the decisions that there are for so many items."""
        if not self.set:
            return list(range(self.heads))
        return list(range(items)) + list(range(self.items, self.items + self.common))

    def seen(self, decision):
        if not self.choices:
            return decision.reshape(1).to(golden.DTYPE)
        return torch.tensor([1.0 if int(decision) == c else 0.0 for c in range(self.choices)], dtype=golden.DTYPE)

    def inputs(self, agents, agent, items, obs, last, asked=None):
        """What a network is given: (globals, items)."""
        wide = range(self.items, self.items + self.common) if self.set else range(self.heads)
        parts = [obs[:self.observations].to(golden.DTYPE)]
        if self.last_action:
            parts += [self.seen(last[d]) for d in wide]
        if self.agent_id:
            parts.append(torch.tensor([1.0 if i == agent else 0.0 for i in range(agents)], dtype=golden.DTYPE))
        if asked is not None:
            parts += [asked[d].reshape(1) for d in wide]
        if not self.set:
            return torch.cat(parts), None
        rows = []
        for i in range(items):
            at = self.observations + i * self.item_observations
            row = [obs[at:at + self.item_observations].to(golden.DTYPE)]
            if self.last_action:
                row.append(self.seen(last[i]))
            if asked is not None:
                row.append(asked[i].reshape(1))
            rows.append(torch.cat(row))
        return torch.cat(parts), torch.stack(rows)

    def shape(self, agents, per, asked, **more):
        """The network of an agent with `per` outputs for a decision."""
        seen = (self.choices or 1) if self.last_action else 0
        every = seen + (1 if asked else 0)
        if self.set:
            return Net(inputs=self.observations + self.common * every + (agents if self.agent_id else 0),
                       outputs=0 if asked else self.common * per, item_inputs=self.item_observations + every,
                       item_outputs=per, **more)
        return Net(inputs=self.observations + self.heads * every + (agents if self.agent_id else 0),
                   outputs=per if asked else self.heads * per, heads=self.heads, **more)

    def answers(self, out, per):
        """One row of `per` numbers for each decision."""
        each, common = out
        return common.reshape(-1, per) if each is None else torch.cat([each.reshape(-1, per), common.reshape(-1, per)])


class Batch:
    """What an episode ring gives: arrays as in rllb_nn_sequences, zero behind the end of a row."""

    def __init__(self, random, space, agents, lengths, terminated, items=None, begun=(), states=0, memories=0):
        rows, steps = len(lengths), max(lengths)
        self.space, self.agents, self.lengths, self.rows, self.steps = space, agents, lengths, rows, steps
        self.items = items or [0] * rows
        self.obs = uniform(random, -1, 1, steps + 1, rows, agents, space.width)
        self.state = uniform(random, -1, 1, steps + 1, rows, states)
        self.reward = normal(random, steps, rows, agents)
        self.memory = uniform(random, -0.5, 0.5, rows, agents, memories)
        self.before = torch.full((rows, agents, space.actions), -1.0)
        self.filled, self.terminated = torch.zeros(steps, rows), torch.zeros(steps, rows)

        def draw(*shape):
            if space.choices:
                return torch.from_numpy(random.randint(0, space.choices, shape).astype(np.float32))
            return uniform(random, -0.9, 0.9, *shape)

        self.action = draw(steps, rows, agents, space.actions)
        earlier = draw(rows, agents, space.actions)
        for r, length in enumerate(lengths):
            if r in begun:
                self.before[r] = earlier[r]
            for t in (self.obs, self.state):
                t[length + 1:, r] = 0
            for t in (self.action, self.reward):
                t[length:, r] = 0
            self.filled[:length, r] = 1
            if terminated[r]:
                self.terminated[length - 1, r] = 1
            gone = [d for d in range(space.actions) if d not in space.decisions(self.items[r])]
            self.action[:, r, :, gone] = 0

    def tensors(self):
        out = {name: getattr(self, name) for name in ("obs", "action", "reward", "before")}
        out.update({name: t for name, t in (("state", self.state), ("memory", self.memory)) if t.numel()})
        out.update(filled=ints(self.filled.numpy()), terminated=ints(self.terminated.numpy()),
                   items=ints(self.items), length=ints(self.lengths))
        return out

    def decisions(self, r):
        return self.space.decisions(self.items[r])

    def xs(self, r, agent, count, asked=None):
        """Inputs of the first `count` steps of a row; asked [t]: decisions that a critic is asked about."""
        out = []
        for t in range(count):
            last = self.before[r, agent] if t == 0 else self.action[t - 1, r, agent]
            out.append(self.space.inputs(self.agents, agent, self.items[r], self.obs[t, r, agent], last,
                                         None if asked is None else asked[t]))
        return out

    def memory_of(self, net, r, agent):
        if not self.memory.numel():
            return None
        rows = self.items[r] if self.space.set else 1
        return self.memory[r, agent].to(golden.DTYPE).reshape(-1, net.gru)[:rows]


def fair_gradient(params):
    """Adam's first step is lr g / (|g| + 1e-8): steep near zero. Exactly zero is fair."""
    flat = torch.cat([p.grad.reshape(-1) for p in params.values() if p.grad is not None]).abs()
    demand(((flat == 0) | (flat > 2e-7)).all())
    return flat


def gradients(prefix, params):
    return {prefix + name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in params.items()}


def adam(params, lr, clip=0.0):
    """Norm before clipping; all parameters step, those without a gradient by nothing."""
    norm = torch.sqrt(sum((p.grad ** 2).sum() for p in params if p.grad is not None))
    if clip:
        torch.nn.utils.clip_grad_norm_([p for p in params if p.grad is not None], clip)
    torch.optim.Adam([p for p in params if p.grad is not None], lr=lr, betas=(0.9, 0.999), eps=1e-8).step()
    return norm.detach().reshape(1)


# ---- value-based learners --------------------------------------------------------------------------------------

class Mixer:
    """QMIX's: Q = w2(s) . ELU(W1(s)^T q + b1(s)) + v(s), W1 and w2 made non-negative."""

    def __init__(self, inputs, states, embed, hyper):
        deep = (hyper,) if hyper > 0 else ()
        self.inputs, self.embed = inputs, embed
        self.nets = {"w1": Net(states, inputs * embed, hidden=deep, activation="relu"),
                     "b1": Net(states, embed, activation="relu"),
                     "w2": Net(states, embed, hidden=deep, activation="relu"),
                     "v": Net(states, 1, hidden=(embed,), activation="relu")}

    def draw(self, random):
        return {"%s.%s" % (name, key): t for name, net in self.nets.items() for key, t in net.draw(random).items()}

    def mix(self, p, q, state):
        def ask(name):
            mine = {key[len(name) + 1:]: t for key, t in p.items() if key.startswith(name + ".")}
            return self.nets[name].step(mine, state, None, None)[1]

        w1, w2 = ask("w1").reshape(self.inputs, self.embed), ask("w2")
        demand(min(w1.detach().abs().min(), w2.detach().abs().min()) > 1e-5)
        hidden = F.elu(q @ w1.abs() + ask("b1"))
        return hidden @ w2.abs() + ask("v").reshape(())


def mixer(random):
    shape, rows = Mixer(5, 3, 6, 7), 9
    weights = shape.draw(random)
    q, state, dy = normal(random, rows, 5), normal(random, rows, 3), normal(random, rows)
    p, inputs = leaves(weights), leaves({"q": q})["q"]
    y = torch.stack([shape.mix(p, inputs[r], state[r].to(golden.DTYPE)) for r in range(rows)])
    (y * dy.to(golden.DTYPE)).sum().backward()
    return dict(golden.prefixed("hyper.", weights), q=q, state=state, dy=dy, y=y, grad_q=inputs.grad,
                **gradients("grad.hyper.", p))


def qmix(random, space, agents, lengths, terminated, mix="qmix", shape=None, states=0, items=None, begun=(),
         double=False, apart=False, bounded=False, stored=False, burn=0, lam=0.6, gamma=0.9, clip=0.0, huber=False,
         tau=0.0, hyper=7, embed=4, lr=1e-3, whole=False):
    net = space.shape(agents, space.choices, False, **(shape or {}))
    memories = net.gru * (space.items if space.set else 1) if stored else 0
    b = Batch(random, space, agents, lengths, terminated, items, begun, states, memories)
    nets = agents if apart else 1
    mixed = agents * space.actions
    m = Mixer(mixed, states or agents * space.width, embed, hyper) if mix == "qmix" else None

    def draw():
        out = {"net.%d.%s" % (i, key): t for i in range(nets) for key, t in net.draw(random, 2.0).items()}
        if m:
            out.update(golden.prefixed("hyper.", m.draw(random)))
        return out

    given, follow = draw(), draw()
    out = dict(given, **golden.prefixed("target.", follow))
    out.update(b.tensors())
    p, f = leaves(given), {name: t.to(golden.DTYPE) for name, t in follow.items()}

    def part(params, prefix):
        return {name[len(prefix):]: t for name, t in params.items() if name.startswith(prefix)}

    def values(params, r, a, cut):
        """[step][decision][choice] of one agent of one row."""
        mine = part(params, "net.%d." % (a if apart else 0))
        got, _ = net.run(mine, b.xs(r, a, lengths[r] + 1), b.memory_of(net, r, a), burn if cut else 0)
        q = torch.stack([space.answers(o, space.choices) for o in got])
        return F.softmax(q, dim=2) if bounded else q

    def unit(params, chosen, r, t, a):
        """Value of what is mixed: chosen [agent][decision]."""
        if mix == "none":
            return chosen[a].mean()
        if mix == "sum":
            return sum(c.sum() for c in chosen)
        state = (b.state[t, r] if states else b.obs[t, r].reshape(-1)).to(golden.DTYPE)
        places = torch.zeros(agents, space.actions, dtype=golden.DTYPE)
        at = torch.tensor(b.decisions(r))
        places = torch.stack([places[i].index_add(0, at, chosen[i]) for i in range(agents)])
        return m.mix(part(params, "hyper."), places.reshape(-1), state)

    units = agents if mix == "none" else 1
    targets = torch.zeros(b.steps, b.rows, units, dtype=golden.DTYPE)
    loss, counted = 0.0, 0
    for r, length in enumerate(lengths):
        online = [values(p, r, a, True) for a in range(agents)]
        slow = [values(f, r, a, False).detach() for a in range(agents)]
        best = []
        for a in range(agents):
            chooser = (online[a] if double else slow[a]).detach()
            top = chooser.topk(2, dim=2).values
            demand((top[..., 0] - top[..., 1]).min() > 1e-4)
            best.append(slow[a].gather(2, chooser.argmax(dim=2, keepdim=True)).squeeze(2))
        for u in range(units):
            value = [None] + [unit(f, [x[t] for x in best], r, t, u).detach() for t in range(1, length + 1)]
            g = value[length]
            for t in range(length - 1, -1, -1):
                reward = (b.reward[t, r, u] if mix == "none" else b.reward[t, r].to(golden.DTYPE).mean())
                g = reward.to(golden.DTYPE) + (0 if b.terminated[t, r] else
                                               gamma * ((1 - lam) * value[t + 1] + lam * g))
                targets[t, r, u] = g
            for t in range(burn if net.gru else 0, length):
                taken = [online[a][t].gather(1, b.action[t, r, a, b.decisions(r)].long().reshape(-1, 1)).reshape(-1)
                         for a in range(agents)]
                is_ = taken[u] if mix == "none" else unit(p, taken, r, t, u)
                should = targets[t, r, u].clone().expand_as(is_)
                if huber:
                    away = (is_ - should).abs().detach()
                    demand((away - golden.HUBER_BETA).abs().min() > 1e-5)
                    loss = loss + F.smooth_l1_loss(is_, should, beta=golden.HUBER_BETA)
                else:
                    loss = loss + F.mse_loss(is_, should)
                counted += 1
    loss = loss / counted
    loss.backward()
    fair_gradient(p)
    out.update(gradients("grad.", p))
    out.update(targets=targets, loss=loss.reshape(1), gamma=scalar(gamma), lam=scalar(lam), lr=scalar(lr),
               clip=scalar(clip), tau=scalar(tau), burn=ints([burn]))
    out["norm"] = adam(list(p.values()), lr, clip)
    demand(not clip or out["norm"][0] > 1.2 * clip)
    if whole:
        out.update(golden.prefixed("after.", p))
        for name, t in p.items():
            out["target_after." + name] = tau * t + (1 - tau) * f[name]
    return out


# ---- soft actor-critic -------------------------------------------------------------------------------------------

def sac(random, space, agents, lengths, terminated, shape=None, critic_shape=None, items=None, begun=(), stored=False,
        burn=0, released=False, gamma=0.9, tau=0.05, alpha=0.4, entropy=None, reward_scale=1.0, normalise=False,
        clip=0.0, lr=3e-4, seed=0, whole=False):
    continuous = not space.choices
    asked, per = continuous or released, space.choices or 2
    actor = space.shape(agents, per, False, **(shape or {}))
    critic = space.shape(agents, 1 if asked else per, asked, **(critic_shape or shape or {}))
    memories = actor.gru * (space.items if space.set else 1) if stored else 0
    b = Batch(random, space, agents, lengths, terminated, items, begun, 0, memories)
    steps = b.steps
    given = {"actor": actor.draw(random)}
    for name in ("critic.0", "critic.1", "target.0", "target.1"):
        given[name] = critic.draw(random, 2.0)
    out = b.tensors()
    for name, tensors in given.items():
        out.update(golden.prefixed(name + ".", tensors))
    p = {name: leaves(tensors) for name, tensors in given.items()}
    share_of = math.log(space.choices) if space.choices else 1.0
    entropy = entropy if entropy is not None else (0.3 if space.choices else -1.0)
    out.update(gamma=scalar(gamma), tau=scalar(tau), alpha=scalar(alpha), entropy=scalar(entropy), lr=scalar(lr),
               reward_scale=scalar(reward_scale), clip=scalar(clip), burn=ints([burn]), seed=ints([seed]))
    alpha = float(np.float32(alpha))
    cells = [(r, a) for r in range(b.rows) for a in range(agents)]

    # Draws come cell by cell, decision by decision, of what is padding too, but not of items that are not there.
    generator = Generator(seed, 3)
    noise = torch.zeros(steps + 1, b.rows, agents, space.actions, dtype=golden.DTYPE)
    for t in range(steps + 1 if asked else 0):
        for r, a in cells:
            for d in b.decisions(r):
                noise[t, r, a, d] = generator.normal() if continuous else generator.single()

    # The actor: probabilities, or actions drawn, and ln pi, for every step and what follows the last.
    policy, drawn, log_pi = {}, {}, {}
    for r, a in cells:
        got, _ = actor.run(p["actor"], b.xs(r, a, lengths[r] + 1), b.memory_of(actor, r, a), burn)
        policy[r, a] = [space.answers(o, per) for o in got]
        drawn[r, a], log_pi[r, a] = [], []
        for t, y in enumerate(policy[r, a]):
            decisions = b.decisions(r)
            draws = noise[t, r, a, decisions]
            if continuous:
                demand((y[:, 1] - 2).abs().min() > 1e-4)
                spread = y[:, 1].clamp(-20, 2)
                u = y[:, 0] + torch.exp(spread) * draws
                acts, logs = torch.tanh(u), (-0.5 * draws ** 2 - spread - 0.5 * math.log(2 * math.pi)
                                             - 2 * (math.log(2) - u - F.softplus(-2 * u)))
            else:
                logs = F.log_softmax(y, dim=1)
                edges = logs.detach().exp().cumsum(dim=1)
                demand((edges - draws.reshape(-1, 1)).abs().min() > 1e-5)
                chosen = (edges < draws.reshape(-1, 1)).sum(dim=1).clamp(max=per - 1)
                acts = chosen.to(golden.DTYPE)
                if asked:
                    logs = logs.gather(1, chosen.reshape(-1, 1)).reshape(-1)
            whole_action = torch.zeros(space.actions, dtype=golden.DTYPE)
            drawn[r, a].append(whole_action.index_add(0, torch.tensor(decisions), acts))
            log_pi[r, a].append(logs)

    def answer(name, r, a, count, actions=None):
        got, _ = critic.run(p[name], b.xs(r, a, count, actions), None, burn)
        rows = [space.answers(o, 1 if asked else per) for o in got]
        return [row.mean() for row in rows] if asked else rows

    def least(one, two):
        demand((one - two).detach().abs().min() > 1e-4)
        return torch.minimum(one, two)

    # Targets.
    there = torch.stack([b.reward[t, r, a] for r, a in cells for t in range(lengths[r])]).to(golden.DTYPE)
    mean, deviation = there.mean(), there.std(unbiased=False)
    wanted = torch.zeros(steps, b.rows, agents, dtype=golden.DTYPE)
    with torch.no_grad():
        for r, a in cells:
            q = [answer("target.%d" % i, r, a, lengths[r] + 1, drawn[r, a] if asked else None) for i in range(2)]
            for t in range(lengths[r]):
                low, logs = least(q[0][t + 1], q[1][t + 1]), log_pi[r, a][t + 1]
                if asked:
                    value = low - alpha * logs.mean()
                else:
                    value = (logs.exp() * (low - alpha * logs)).sum(dim=1).mean()
                reward = b.reward[t, r, a].to(golden.DTYPE)
                if normalise:
                    reward = (reward - mean) / (deviation + 1e-6)
                wanted[t, r, a] = reward_scale * reward + (0 if b.terminated[t, r] else gamma * value)
    out["wanted"] = wanted

    # Critics.
    count = sum(max(0, lengths[r] - (burn if actor.gru else 0)) for r, a in cells)
    first = burn if actor.gru else 0
    loss = 0.0
    for r, a in cells:
        taken = b.action[:, r, a].to(golden.DTYPE)
        for i in range(2):
            q = answer("critic.%d" % i, r, a, lengths[r], taken if asked else None)
            for t in range(first, lengths[r]):
                is_ = q[t] if asked else q[t].gather(1, taken[t, b.decisions(r)].long().reshape(-1, 1)).reshape(-1)
                loss = loss + ((is_ - wanted[t, r, a]) ** 2).mean() / count
    loss.backward()
    critics = {"%d.%s" % (i, key): t for i in range(2) for key, t in p["critic.%d" % i].items()}
    fair_gradient(critics)
    out["critic_loss"] = loss.reshape(1)
    out.update(gradients("grad.critic.", critics))
    norm = adam(list(critics.values()), lr, clip)
    demand(not clip or norm[0] > 1.2 * clip)

    # The actor, by the critics as they are now.
    for name in ("critic.0", "critic.1"):
        p[name] = {key: t.detach() for key, t in p[name].items()}
    loss, spread = 0.0, 0.0
    for r, a in cells:
        q = [answer("critic.%d" % i, r, a, lengths[r],
                    ([x.detach() for x in drawn[r, a]] if released else drawn[r, a]) if asked else None)
             for i in range(2)]
        for t in range(first, lengths[r]):
            low, logs = least(q[0][t], q[1][t]), log_pi[r, a][t]
            if asked:
                loss = loss + (alpha * logs.mean() - low) / count
                spread = spread - logs.mean().detach() / count
            else:
                loss = loss + (logs.exp() * (alpha * logs - low)).sum(dim=1).mean() / count
                spread = spread - (logs.exp() * logs).sum(dim=1).mean().detach() / count
    loss.backward()
    fair_gradient(p["actor"])
    out.update(gradients("grad.actor.", p["actor"]))
    adam(list(p["actor"].values()), lr)
    log_alpha = torch.tensor([math.log(alpha)], dtype=golden.DTYPE, requires_grad=True)
    # Haarnoja et al. 2019, Eq. 18, by ln alpha: alpha rises while the entropy is below its target.
    (log_alpha * (spread - float(np.float32(entropy)) * share_of)).sum().backward()
    out.update(actor_loss=loss.reshape(1), policy_entropy=spread.reshape(1), grad_log_alpha=log_alpha.grad.clone())
    demand(log_alpha.grad.abs().min() > 1e-3)
    adam([log_alpha], lr)
    out["log_alpha_after"] = log_alpha
    if asked:
        out["noise"] = noise
        acts = torch.zeros(steps + 1, b.rows, agents, space.actions, dtype=golden.DTYPE)
        for r, a in cells:
            for t in range(lengths[r] + 1):
                acts[t, r, a] = drawn[r, a][t].detach()
        out["drawn"] = acts
    if whole:
        out.update(golden.prefixed("after.actor.", p["actor"]))
        for i in range(2):
            for key, t in p["critic.%d" % i].items():
                out["after.critic.%d.%s" % (i, key)] = t
                out["after.target.%d.%s" % (i, key)] = tau * t + (1 - tau) * p["target.%d" % i][key].detach()
    return out


# ---- files ---------------------------------------------------------------------------------------------------

def build_all():
    out = {}

    def add(name, start, build, *args, **more):
        out[name] = golden.first_lucky(lambda random: build(random, *args, **more), start)

    add("gru", 20000, sequences, Net(5, 3, hidden=(8,), gru=12, after=(9,)), [6, 4, 1, 5], [1] * 4, 1, 2)
    add("gru_wide", 21000, sequences, Net(3, 2, gru=19), [3, 4], [1] * 2, 1, 1)
    add("set_gru", 22000, sequences, Net(2, 3, 4, 2, hidden=(8,), gru=6, after=(9, 5)), [3, 2, 4], [4, 2, 3], 4, 1)
    add("mixer", 23000, mixer)

    flat = Space(observations=4, heads=2, choices=3, last_action=True, agent_id=True)
    servers = Space(observations=2, item_observations=3, items=4, common=1, choices=3, last_action=True, agent_id=True)
    lengths, ended = [4, 2, 1, 3], [1, 0, 1, 0]
    add("qmix", 30000, qmix, flat, 2, lengths, ended, states=5, double=True, clip=0.5, tau=0.05, begun=(1,),
        shape=dict(hidden=(6,), gru=5), whole=True)
    add("qmix_apart", 31000, qmix, Space(observations=3, heads=2, choices=3), 2, lengths, ended, apart=True,
        bounded=True, stored=True, burn=1, hyper=-1, begun=(0, 1), shape=dict(gru=5, after=(6,)), lam=0.3)
    add("vdn_set", 32000, qmix, servers, 2, lengths, ended, mix="sum", items=[4, 2, 3, 1], begun=(3,), lam=1.0,
        shape=dict(hidden=(5,), gru=4))
    add("iql_dueling", 33000, qmix, flat, 2, lengths, ended, mix="none", double=True, huber=True, lam=0.0,
        shape=dict(hidden=(7,), dueling=5), begun=(0,))

    add("sac", 40000, sac, flat, 2, [2, 1, 2, 1, 2], [0, 1, 1, 0, 0], shape=dict(hidden=(7,)), begun=(0, 3),
        clip=0.5, reward_scale=2.0, whole=True)
    add("sac_gru", 41000, sac, Space(observations=3, heads=2, choices=3, last_action=True), 2, lengths, ended,
        shape=dict(hidden=(5,), gru=5), burn=1)
    add("sac_set", 42000, sac, servers, 2, lengths, ended, items=[4, 2, 3, 1], begun=(2,), stored=True,
        shape=dict(gru=4), normalise=True)
    add("sac_gaussian", 43000, sac, Space(observations=3, heads=2, last_action=True, agent_id=True), 2,
        [2, 1, 2, 1, 2], [0, 1, 1, 0, 0], shape=dict(hidden=(7,)), critic_shape=dict(hidden=(8,)), begun=(0, 3),
        reward_scale=3.0, normalise=True, seed=11, whole=True)
    add("sac_gaussian_set", 44000, sac, Space(observations=2, item_observations=2, items=3, common=1,
                                              last_action=True), 2, [3, 2, 1, 2], ended,
        items=[3, 1, 2, 3], shape=dict(hidden=(4,), gru=4), burn=1, begun=(1,), seed=12)
    add("sac_released", 45000, sac, Space(observations=3, heads=2, choices=3, last_action=True), 1, lengths, ended,
        shape=dict(hidden=(4,), gru=4), released=True, seed=13)
    return out


if __name__ == "__main__":
    golden.build_all = build_all
    sys.argv[0] = os.path.basename(sys.argv[0])
    sys.exit(golden.main())
