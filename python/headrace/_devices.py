"""Where tensors are loaded to: devices by the names that Headrace, torch and their users give them."""

from __future__ import annotations

import operator
import weakref

from . import _core
from ._errors import refuse
from ._frameworks import import_torch
from ._loaded import DeviceTensor, as_numpy, as_torch, torch_holds, view_torch

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from typing import Any

    import torch

_FRAMEWORKS = {"pt": "pt", "torch": "pt", "pytorch": "pt", "np": "np", "numpy": "np", "dlpack": "dlpack"}


def devices() -> list[_core.DeviceInfo]:
    """The devices of this machine: "host" first, then "opencl:0", …, "cuda:0", …; each with ``name``, ``kind``,
    ``description``, ``memory_total``, ``memory_free`` (None where the driver can't say) and ``largest_buffer``, in
    bytes. Drivers are loaded for it; those that can't be used are left out, and devices that can't say
    what they are."""
    return _core.devices()


def device_name(device: Any) -> str:
    """Of a torch.device, torch's number of a GPU, or a name."""
    if isinstance(device, str) and device:
        return device
    if hasattr(device, "type") and hasattr(device, "index"):  # torch's
        return device.type if device.index is None else f"{device.type}:{device.index}"
    try:
        if not isinstance(device, bool):
            return f"cuda:{operator.index(device)}"
    except TypeError:
        pass
    raise refuse(f"device: found {type(device).__name__} {device!r}",
                 expected="'cpu', 'cuda:0', 'opencl:0', or a torch.device")


class Place:
    """A device, and what tensors on it are made of: the memory of one load."""

    __slots__ = ("device", "kind", "strict", "_made", "_torch_device", "_stream")

    def __init__(self, device: Any, framework: str | None) -> None:
        self.device = device_name(device)
        on_host, on_cuda = self.device in ("cpu", "host"), self.device.partition(":")[0] == "cuda"
        self.strict = framework is not None
        self.kind = self._kind(framework, on_host, on_cuda)
        # By name, what no tensor has been made of yet. The stream's buffers keep it; it goes with them.
        self._made: dict[str, weakref.ref[torch.Tensor]] = {}
        self._torch_device: torch.device | None = None
        if self.kind == "pt" and on_cuda:
            torch = import_torch()
            number = self.device.partition(":")[2]
            self._torch_device = torch.device("cuda", int(number) if number.isdigit() else torch.cuda.current_device())
            self.device = str(self._torch_device)
            # This thread's, which will use the tensors and free them. A worker's own is always torch's default one.
            self._stream = torch.cuda.current_stream(self._torch_device)

    def _kind(self, framework: str | None, on_host: bool, on_cuda: bool) -> str:
        if framework is None:
            return "pt" if (on_host or on_cuda) and _torch_can(on_cuda) else "dlpack"
        kind = _FRAMEWORKS.get(framework) if isinstance(framework, str) else None
        if kind is None:
            raise refuse("this is no framework that Headrace knows", expected='"torch", "numpy" or "dlpack"',
                         found=repr(framework))
        if kind == "np" and not on_host:
            raise refuse("numpy's arrays are on the host", code="unsupported", found=self.device,
                         hint='framework="dlpack" gives tensors that .numpy() copies')
        if kind == "pt" and not on_host and not (on_cuda and _torch_can(True)):
            if on_cuda and import_torch():
                raise refuse("this torch has no CUDA, or finds no GPU", code="unsupported", found=self.device,
                             hint='framework="dlpack" needs none')
            raise refuse("torch has no such device", code="unsupported", found=self.device,
                         hint='framework="dlpack"')
        return kind

    @property
    def allocate(self) -> Any:
        """Of torch's own memory, or None. Called on a worker's thread: (name, dtype, shape, nbytes) to (address,
        owner)."""
        return None if self._torch_device is None else self._allocate

    def _allocate(self, name: str, dtype: str, shape: tuple[int, ...], nbytes: int) -> tuple[int, Any] | None:
        if not nbytes or not (self.strict or torch_holds(dtype, shape)):
            return None
        torch = import_torch()
        with torch.cuda.stream(self._stream):
            flat = torch.empty(nbytes, dtype=torch.uint8, device=self._torch_device)
        # What used this memory before may still be queued, and the upload is queued elsewhere.
        self._stream.synchronize()
        self._made[name] = weakref.ref(flat)
        return flat.data_ptr(), flat

    def check(self, rows: list[tuple[str, str, tuple[int, ...], int]]) -> None:
        """Raises UnsupportedError for a tensor that the framework has no type for, before anything is read."""
        if self.kind == "pt":
            for name, dtype, shape, _ in rows:
                torch_holds(dtype, shape, tensor=name)

    def tensor(self, loaded: _core.LoadedTensor) -> Any:
        """What the caller gets of it."""
        if self.kind == "np":
            return as_numpy(loaded, loaded)
        if self.kind == "dlpack":
            return DeviceTensor(loaded)
        made = self._made.pop(loaded.name, None)
        flat = made() if made is not None else None
        if flat is not None:
            return view_torch(flat, loaded.dtype, loaded.shape, loaded.nbytes)
        if not torch_holds(loaded.dtype, loaded.shape):
            return DeviceTensor(loaded)
        if loaded.on_host:
            return as_torch(loaded)
        torch = import_torch()
        return view_torch(torch.empty(loaded.nbytes, dtype=torch.uint8, device=self._torch_device), loaded.dtype,
                          loaded.shape, loaded.nbytes)  # of no bytes


def _torch_can(cuda: bool) -> bool:
    try:
        torch = import_torch()
    except NotImplementedError:
        return False
    return not cuda or torch.cuda.is_available()
