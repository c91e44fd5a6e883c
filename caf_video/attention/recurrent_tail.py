"""The exact structure of pool → LSTM → projection: a step of a filter is tiny (maths 1.3, 1.6)."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

State = tuple[Tensor, ...]  # (h,) of a GRU, (h, c) of an LSTM


@runtime_checkable
class RecurrentHead(Protocol):
    """A clip model whose head pools or flattens each frame's map and feeds it to an LSTM or GRU.

    The input at timestep s is A_s averaged over cells (b, c) or flattened (b, c*h*w); the embedding
    is `projection(last output)`.
    """

    pooling: str  # "average" | "flatten"
    lstm: nn.RNNBase  # nn.LSTM or nn.GRU, batch_first
    projection: nn.Linear


def has_recurrent_head(model: object) -> bool:
    """Whether the model declares the structure that `RecurrentTail` computes."""
    if not isinstance(model, RecurrentHead):
        return False
    lstm = model.lstm
    return (
        model.pooling in ("average", "flatten")
        and isinstance(lstm, nn.LSTM | nn.GRU)
        and lstm.batch_first
        and not lstm.bidirectional
        and lstm.proj_size == 0
        and isinstance(model.projection, nn.Linear)
    )


class RecurrentTail:
    """FT(x, f_t) for every frame t of every clip, at the price of a few small products.

    With A_t pooled or flattened the input product is affine in f_t: W_ih x_t = P_t f_t with
    P_t[g, p] = sum over c of W_ih[g, c, p] A_t[c, p] (pooled: W_ih A_t / n), computed once. Frames
    before t are the clean pass, computed once; from t on only products with W_hh remain. The
    problems run as a wavefront: at timestep s those with t <= s, all in one product.

    Args:
        model: The clip model.
        maps: A, which the filters multiply, shape (b, t, c, h, w).

    Its problems are ordered by frame, then clip: row r is frame r // b of clip r % b.
    """

    def __init__(self, model: RecurrentHead, maps: Tensor) -> None:
        clips, timesteps = maps.shape[:2]
        self.space = tuple(maps.shape[3:])
        self.dtype = torch.promote_types(maps.dtype, torch.float32)
        self.device = maps.device
        cells = maps.flatten(3).to(self.dtype)  # (b, t, c, n)
        pooled = model.pooling == "average"

        self._layers, self._projection = _recurrence(model, self.dtype)
        self._clean = self._clean_pass(cells.mean(dim=3) if pooled else cells.flatten(2))
        by_frame = cells.transpose(0, 1).flatten(0, 1)
        self._product = _InputProduct(self._layers[0], by_frame, pooled)

        self.frames = torch.arange(timesteps, device=maps.device).repeat_interleave(clips)
        self.clips = torch.arange(clips, device=maps.device).repeat(timesteps)
        self._wave = self._wavefront()

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def embeddings(self) -> Tensor:
        """NT(x) of the clips (b, d), from the clean pass."""
        return self._clean.embeddings

    def __call__(self, filters: Tensor) -> Tensor:
        product = self._product(filters.flatten(1))
        states: list[State] = []  # of the problems running so far, per layer
        for stage in self._wave:
            below = torch.cat([stage.clean_products, product[stage.running : stage.entered]])
            running, states = states, []
            for depth, layer in enumerate(self._layers):
                state, hidden = stage.states[depth], stage.hidden_products[depth]
                if running:
                    hidden = torch.cat([layer.hidden_product(running[depth][0]), hidden])
                    state = _join(running[depth], state)
                if depth:
                    below = linear(below, layer.input_weight, layer.input_bias)
                states.append(layer.step(below, hidden, state))
                below = states[depth][0]
        return linear(below, *self._projection)

    def select(self, rows: Tensor) -> "RecurrentTail":
        """Some of the problems; `rows` ascend, so that those running stay a prefix."""
        part = object.__new__(RecurrentTail)
        part.__dict__.update(self.__dict__)
        part._product = self._product.select(rows)
        part.frames, part.clips = self.frames[rows], self.clips[rows]
        part._wave = part._wavefront()
        return part

    def _clean_pass(self, inputs: Tensor) -> "_CleanPass":
        """Run the clips unfiltered, inputs (b, t, features)."""
        first = self._layers[0]
        products = linear(inputs, first.input_weight, first.input_bias)
        current = [layer.zero_state(inputs) for layer in self._layers]
        states, hidden_products = [], []
        for step in range(inputs.shape[1]):
            hidden = [
                layer.hidden_product(state[0])
                for layer, state in zip(self._layers, current, strict=True)
            ]
            states.append(list(current))
            hidden_products.append(hidden)
            below = products[:, step]
            for depth, layer in enumerate(self._layers):
                if depth:
                    below = linear(below, layer.input_weight, layer.input_bias)
                current[depth] = layer.step(below, hidden[depth], current[depth])
                below = current[depth][0]
        return _CleanPass(products, states, hidden_products, linear(below, *self._projection))

    def _wavefront(self) -> "list[_Stage]":
        """What each timestep reads from the clean pass, gathered once for all evaluations."""
        clean, stages, running = self._clean, [], 0
        counts = torch.bincount(self.frames, minlength=clean.input_products.shape[1]).tolist()
        for step, count in enumerate(counts):
            entered = running + count
            clips = self.clips[running:entered]
            stages.append(
                _Stage(
                    running=running,
                    entered=entered,
                    clean_products=clean.input_products[self.clips[:running], step],
                    states=[tuple(part[clips] for part in state) for state in clean.states[step]],
                    hidden_products=[product[clips] for product in clean.hidden_products[step]],
                )
            )
            running = entered
        return stages


class JointTail:
    """FT(x, f) with every frame of a clip filtered at once: one pass of T steps for all clips.

    Args:
        model: The clip model.
        maps: A, which the filters (b, t, h, w) multiply, shape (b, t, c, h, w).

    Its problems are the clips.
    """

    def __init__(self, model: RecurrentHead, maps: Tensor) -> None:
        self.space = (maps.shape[1], *maps.shape[3:])
        self.dtype = torch.promote_types(maps.dtype, torch.float32)
        self.device = maps.device
        self._layers, self._projection = _recurrence(model, self.dtype)
        cells = maps.flatten(0, 1).flatten(2).to(self.dtype)  # (b t, c, n)
        self._product = _InputProduct(self._layers[0], cells, model.pooling == "average")
        self._clips = len(maps)

    def __len__(self) -> int:
        return self._clips

    def __call__(self, filters: Tensor) -> Tensor:
        products = self._product(filters.flatten(2).flatten(0, 1)).unflatten(0, filters.shape[:2])
        states = [layer.zero_state(products) for layer in self._layers]
        below = products
        for below in products.unbind(dim=1):
            for depth, layer in enumerate(self._layers):
                if depth:
                    below = linear(below, layer.input_weight, layer.input_bias)
                hidden = layer.hidden_product(states[depth][0])
                states[depth] = layer.step(below, hidden, states[depth])
                below = states[depth][0]
        return linear(below, *self._projection)

    def select(self, rows: Tensor) -> "JointTail":
        """Some of the clips."""
        part = object.__new__(JointTail)
        part.__dict__.update(self.__dict__)
        steps = torch.arange(self.space[0], device=self.device)
        part._product = self._product.select((rows[:, None] * self.space[0] + steps).flatten())
        part._clips = len(rows)
        return part


class _InputProduct:
    """W_ih x + b_ih of frames whose maps are filtered and then pooled or flattened: P f + b.

    Args:
        first: The first layer of the recurrence.
        cells: A of each frame, (m, c, n).
        pooled: Whether the maps are averaged over cells, else flattened.
    """

    def __init__(self, first: "_Layer", cells: Tensor, pooled: bool) -> None:
        self._weight, self._bias = first.input_weight, first.input_bias
        self._cells, self._pooled = cells, pooled

    def __call__(self, filters: Tensor) -> Tensor:
        """From filters (m, n) to (m, gates)."""
        # A row times a matrix: as a matrix times a column it is 3 to 30 times slower on a CPU.
        product = torch.bmm(filters[:, None], self._matrix).squeeze(1)
        if self._to_gates is not None:
            product = product @ self._to_gates.T
        return product if self._bias is None else product + self._bias

    def select(self, rows: Tensor) -> "_InputProduct":
        """Of some of the frames."""
        part = object.__new__(_InputProduct)
        part.__dict__.update(self.__dict__)
        part._matrix = self._matrix.index_select(0, rows)
        return part

    @cached_property
    def _matrix(self) -> Tensor:
        """What a row of filters is multiplied by, (m, n, k), in any layout: P, or A itself.

        Made on first use: who only asks for the embeddings does not need it.
        """
        cells, weight = self._cells, self._weight
        if self._through_channels:
            return cells.mT
        if self._pooled:
            return (weight / cells.shape[2] @ cells).mT
        per_cell = weight.unflatten(1, cells.shape[1:]).permute(2, 1, 0)  # (n, c, gates)
        return torch.bmm(cells.permute(2, 0, 1), per_cell).transpose(0, 1)

    @cached_property
    def _to_gates(self) -> Tensor | None:
        """From the channels to the gates (gates, c), where `_matrix` leads to the channels."""
        return self._weight / self._cells.shape[2] if self._through_channels else None

    @property
    def _through_channels(self) -> bool:
        """Whether pooled channels are fewer than gates."""
        return self._pooled and self._cells.shape[1] < len(self._weight)


@dataclass(frozen=True)
class _CleanPass:
    """The unfiltered run of every clip: where filtered ones enter, and what they are fed later."""

    input_products: Tensor  # (b, t, gates): W_ih x + b_ih of the first layer
    states: list[list[State]]  # before each timestep, per layer
    hidden_products: list[list[Tensor]]  # W_hh h + b_hh of those states
    embeddings: Tensor  # (b, d)


@dataclass(frozen=True)
class _Stage:
    """One timestep of the wavefront: problems [0, running) run on, [running, entered) enter."""

    running: int
    entered: int
    clean_products: Tensor  # of those that run on
    states: list[State]  # of those that enter, per layer
    hidden_products: list[Tensor]


class _Layer:
    """One layer of an nn.LSTM or nn.GRU, step by step."""

    def __init__(self, lstm: nn.RNNBase, depth: int, dtype: torch.dtype) -> None:
        def weight(name: str) -> Tensor:
            parameter: Tensor = getattr(lstm, f"{name}_l{depth}")
            return parameter.detach().to(dtype)

        self.is_lstm = isinstance(lstm, nn.LSTM)
        self.hidden_size = lstm.hidden_size
        self.input_weight = weight("weight_ih")
        self.hidden_weight = weight("weight_hh")
        self.input_bias = weight("bias_ih") if lstm.bias else None
        self.hidden_bias = weight("bias_hh") if lstm.bias else None

    def zero_state(self, inputs: Tensor) -> State:
        zeros = inputs.new_zeros(len(inputs), self.hidden_size)
        return (zeros, zeros) if self.is_lstm else (zeros,)

    def hidden_product(self, hidden: Tensor) -> Tensor:
        return linear(hidden, self.hidden_weight, self.hidden_bias)

    def step(self, input_product: Tensor, hidden_product: Tensor, state: State) -> State:
        """The next state from W_ih x + b_ih, W_hh h + b_hh (m, gates) and the last state."""
        if self.is_lstm:
            i, f, g, o = (input_product + hidden_product).chunk(4, dim=1)
            cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
            return o.sigmoid() * cell.tanh(), cell
        reset_in, update_in, new_in = input_product.chunk(3, dim=1)
        reset_hidden, update_hidden, new_hidden = hidden_product.chunk(3, dim=1)
        update = (update_in + update_hidden).sigmoid()
        new = (new_in + (reset_in + reset_hidden).sigmoid() * new_hidden).tanh()
        return (new + update * (state[0] - new),)


def _recurrence(
    model: RecurrentHead, dtype: torch.dtype
) -> "tuple[list[_Layer], tuple[Tensor, Tensor | None]]":
    """The layers of the recurrence, and the weight and bias behind it."""
    layers = [_Layer(model.lstm, depth, dtype) for depth in range(model.lstm.num_layers)]
    weight, bias = model.projection.weight.detach(), model.projection.bias
    return layers, (weight.to(dtype), None if bias is None else bias.detach().to(dtype))


def _join(first: State, second: State) -> State:
    return tuple(torch.cat(parts) for parts in zip(first, second, strict=True))
