"""Headrace moves model weights: convert, quantise, save and load them, always in bounded memory."""

from . import numpy, torch  # neither imports the framework before it is used
from ._checkpoint import Checkpoint, MissingTensorError, open
from ._convert import convert, measure, plan
from ._core import (CancelToken, ConvertReport, DeviceInfo, DiskMapStatistics, DroppedTensor, Input, LoadReport, Plan,
                    PlannedTensor, Progress, TensorComparison, TensorError, VerifyReport, version)
from ._devices import devices
from ._disk_map import DiskMap
from ._dtypes import dtype_name
from ._errors import (BudgetError, CancelledError, ConflictError, Error, FormatError, InvalidArgumentError, IoError,
                      MissingFileError, NoSpaceError, UnsupportedError, ValueConversionError)
from ._load import load_file
from ._loaded import DeviceTensor
from ._save import collect_state_dict_meta, save_file, save_safetensors_streaming
from ._state_dict import load_state_dict
from ._stream import WeightStream, stream
from ._tensor import Tensor
from ._verify import verify
from ._weights import Weights, load
from ._writer import Writer

__version__ = version()
