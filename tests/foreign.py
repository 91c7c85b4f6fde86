"""A device that is none: tensors in this machine's memory, watched as if they lay on a GPU.

The name of the device is "cpu:0". Whatever is made there, moved there or computed from such tensors lies there; all
else, "cpu" included, lies on the host. Nothing runs faster or elsewhere, but what would make the host wait for a GPU,
or fail on one, is recorded with the line that does it.
"""

import traceback
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from unittest import mock

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NAME = "cpu:0"
HOST, FOREIGN = torch.device("cpu"), torch.device(NAME)
ROOT = Path(__file__).parents[1]

# Operators whose result, or its size, the host has to know.
READS = {
    *("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "bincount", "histc", "allclose"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "repeat_interleave"),
}
# Functions that look at values on a CPU alone.
CHECKED_ON_CPU = {"one_hot"}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}
COPIES = {"copy_", "_to_copy", "copy"}
MASKS = (torch.bool, torch.uint8)
FROM_PYTHON = {"tensor", "as_tensor", "asarray"}
TO_NUMPY = {"numpy", "__array__", "tolist"}
NOT_ON_A_GPU = TO_NUMPY - {"tolist"}


@dataclass(frozen=True)
class Event:
    """Something that the host did with tensors of the device: what, and the line of the repository that did it."""

    what: str
    where: str


@dataclass
class Record:
    """Events since the last `clear`.

    Attributes:
        reads: The host waited for values of the device.
        uploads: Copies to the device without `non_blocking=True`, for which the host waits.
        faults: What fails on a GPU: operators on tensors of both sides, and `numpy()` of a tensor that lies there.
    """

    reads: list[Event] = field(default_factory=list)
    uploads: list[Event] = field(default_factory=list)
    faults: list[Event] = field(default_factory=list)

    def clear(self):
        """Forget all events."""
        self.reads, self.uploads, self.faults = [], [], []


class ForeignDevice(TorchFunctionMode):
    """Watches all torch calls; within the context `device="cpu:0"` is the device.

    Two modes, because they see different things: functions that move no data on a CPU, such as `cpu()` and `numpy()`,
    reach no operator; what C++ does, backward included, reaches operators alone.

    Attributes:
        record: What happened.
    """

    # Storages that lie there; of all contexts, since data sets keep their copies.
    _there: ClassVar[dict[int, StorageWeakRef]] = {}

    def __init__(self):
        super().__init__()
        self.record, self._stack = Record(), ExitStack()
        self.call, self._call_is_there = "", True

    def __enter__(self):
        self._stack.enter_context(_Operators(self))
        run = torch.autograd._engine_run_backward

        def watched(*args, **kwargs):
            with self._again():
                return run(*args, **kwargs)

        # Torch watches no functions within one that it watches, such as backward, which calls Python, too.
        self._stack.enter_context(mock.patch.object(torch.autograd, "_engine_run_backward", watched))
        super().__enter__()
        return self

    @contextmanager
    def _again(self):
        super().__enter__()
        try:
            yield
        finally:
            super().__exit__(None, None, None)

    def __exit__(self, *error):
        super().__exit__(*error)
        self._stack.close()

    def is_there(self, tensor):
        """Return whether a tensor lies on the device."""
        while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            tensor = torch._C._functorch.get_unwrapped(tensor)
        return key_of(tensor) in self._there

    def place(self, tensor, there):
        """Let a tensor lie on the device, or not."""
        if there:  # the reference keeps the address from being used again
            self._there[key_of(tensor)] = StorageWeakRef(tensor.untyped_storage())
        else:
            self._there.pop(key_of(tensor), None)

    def prune(self):
        """Forget storages that are no more."""
        for key in [key for key, reference in self._there.items() if reference.expired()]:
            del self._there[key]

    def makes_there(self, operator):
        """Return whether a tensor that an operator makes of no other, on no named device, lies on the device.

        Python makes it on the host; C++ makes it beside the tensors that it was given.
        """
        return self.call != operator and self._call_is_there

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if func == torch.Tensor.device.__get__:
            return FOREIGN if self.is_there(args[0]) else func(*args)
        self.call, self._call_is_there = name, any(map(self.is_there, tensors_in(args, kwargs)))
        try:
            return self._called(func, name, args, kwargs)
        finally:
            self.call, self._call_is_there = "", True

    def _called(self, func, name, args, kwargs):
        first = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if first is not None and self.is_there(first):
            if name == "cpu" or (name == "to" and self._goes_to_host(*args[1:], **kwargs)):
                return self._download(func, args, kwargs)
            if name in TO_NUMPY:
                self.record.reads.append(event(name))
            if name in NOT_ON_A_GPU:
                self.record.faults.append(event(f"{name}() of a tensor on the device"))
        result = func(*args, **kwargs)
        made = name in FROM_PYTHON and kwargs.get("device") in (NAME, FOREIGN)
        like = name in ("to", "type_as") and any(map(self.is_there, tensors_in(args[1:], kwargs)))
        if (made or like) and not self.is_there(result):
            self.record.uploads.append(event(name))
            result = result.clone()
            self.place(result, there=True)
        return result

    def _goes_to_host(self, *args, copy=False, **kwargs):
        like = tensors_in(args, kwargs)
        if like:
            return not self.is_there(like[0])
        return torch._C._nn._parse_to(*args, **kwargs)[0] == HOST

    def _download(self, func, args, kwargs):
        self.record.reads.append(event(func.__name__))
        copy = func(args[0].clone(), *args[1:], **kwargs)
        self.place(copy, there=False)
        return copy


class _Operators(TorchDispatchMode):
    """The part that watches operators; also in backward, inside `torch.func`, and in C++."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func._schema.name.removeprefix("aten::")
        given = tensors_in(args, kwargs)
        lands = self._note(name, args, kwargs, [self.device.is_there(tensor) for tensor in given])
        result, known = func(*args, **kwargs), {key_of(tensor) for tensor in given}
        for tensor in tensors_in(result):
            if key_of(tensor) not in known:  # else it is a view, or changed in place
                self.device.place(tensor, lands)
        return result

    def _note(self, name, args, kwargs, there):
        """Record what an operator does to the host; return whether its new tensors lie on the device."""
        if name in COPIES and there:  # vmap copies plain numbers
            return self._note_copy(name, args, kwargs, there)
        if name in INDEXED and there[0]:
            self._note_index(name, args)
        elif any(there):
            self._note_operator(name, args, kwargs)
        return kwargs.get("device") == FOREIGN or (any(there) if there else self.device.makes_there(name))

    def _note_operator(self, name, args, kwargs):
        record = self.device.record
        if name in READS and self.device.call not in CHECKED_ON_CPU and kwargs.get("output_size") is None:
            record.reads.append(event(name))
        # A GPU takes numbers of the host, tensors without axes, as arguments.
        if any(one.dim() and not self.device.is_there(one) for one in tensors_in(args, kwargs)):
            record.faults.append(event(f"{name} of tensors on both sides"))

    def _note_copy(self, name, args, kwargs, there):
        in_place, source = name != "_to_copy", there[-1]
        # Without a named device, C++ passes the one that the tensor seems to lie on.
        target = there[0] if in_place else source or kwargs.get("device") == FOREIGN
        waits = not (kwargs.get("non_blocking") or (in_place and len(args) > 2 and args[2]))
        if source and not target:
            self.device.record.reads.append(event(name))
        elif target and not source and waits:
            self.device.record.uploads.append(event(name))
        return target

    def _note_index(self, name, args):
        indices = tensors_in(args[1])
        # One number into the places of a mask is a fill.
        fills = name != "index" and args[2].numel() == 1 and not (len(args) > 3 and args[3])
        if any(one.dtype in MASKS for one in indices) and not fills:
            self.device.record.reads.append(event(f"{name} with a mask"))
        if not all(map(self.device.is_there, indices)):
            self.device.record.uploads.append(event(f"{name} with numbers of the host"))


def tensors_in(*tree):
    """Return the tensors of nested containers."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def key_of(tensor):
    """Return what tells the storage of a tensor from others."""
    return tensor.untyped_storage()._cdata


def event(what):
    """Return an event with the innermost line of the repository outside this file."""
    stack = [one for one in traceback.extract_stack() if one.filename.startswith(str(ROOT))]
    frames = [one for one in stack if "site-packages" not in Path(one.filename).parts]
    frame = next((one for one in reversed(frames) if one.filename != __file__), frames[-1])
    return Event(what, f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno}")


def counted(events):
    """Return events as text, one line for each, with how often it happened."""
    return "\n".join(f"{number} x {one.what} at {one.where}" for one, number in Counter(events).most_common())
