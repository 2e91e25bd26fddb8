"""A model larger than the memory: what headrace.torch has of it. Importing this imports torch."""

from .building import skip_model_initialization
from .manager import Manager
from .models import enable_vram_management, load_models_to_device
from .room import Statistics
from .wrappers import AutoTorchModule, AutoWrappedLinear, AutoWrappedModule, AutoWrappedNonRecurseModule

__all__ = ["AutoTorchModule", "AutoWrappedLinear", "AutoWrappedModule", "AutoWrappedNonRecurseModule", "Manager",
           "Statistics", "enable_vram_management", "load_models_to_device", "skip_model_initialization"]
