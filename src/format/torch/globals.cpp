#include "format/torch/globals.hpp"

#include <array>
#include <cstddef>

namespace headrace::format::torch {
namespace {

using enum Role;

constexpr std::array kElements = {
    Element{"float32", 4, DType::F32},
    Element{"float64", 8, DType::F64},
    Element{"float16", 2, DType::F16},
    Element{"bfloat16", 2, DType::BF16},
    Element{"int64", 8, DType::I64},
    Element{"int32", 4, DType::I32},
    Element{"int16", 2, DType::I16},
    Element{"int8", 1, DType::I8},
    Element{"uint8", 1, DType::U8},
    Element{"uint16", 2, DType::U16},
    Element{"uint32", 4, DType::U32},
    Element{"uint64", 8, DType::U64},
    Element{"bool", 1, DType::BOOL},
    Element{"complex64", 8, DType::C64},
    Element{"float8_e4m3fn", 1, DType::F8_E4M3},
    Element{"float8_e5m2", 1, DType::F8_E5M2},
    Element{"float8_e4m3fnuz", 1, DType::F8_E4M3FNUZ},
    Element{"float8_e5m2fnuz", 1, DType::F8_E5M2FNUZ},
    Element{"float8_e8m0fnu", 1, DType::F8_E8M0},
    Element{"float4_e2m1fn_x2", 1, DType::F4},
    // Those that Headrace can't hold are known, so that it can say which one it met.
    Element{"complex128", 16, {}},
    Element{"complex32", 4, {}},
    Element{"quint8", 1, {}},
    Element{"qint8", 1, {}},
    Element{"qint32", 4, {}},
    Element{"quint4x2", 1, {}},
    Element{"quint2x4", 1, {}},
    Element{"bits8", 1, {}},
    Element{"bits16", 2, {}},
    Element{"bits1x8", 1, {}},
    Element{"bits2x4", 1, {}},
    Element{"bits4x2", 1, {}},
};

constexpr const Element* element_of(std::string_view name) {
  for (const Element& element : kElements) {
    if (element.name == name) return &element;
  }
  return nullptr;
}

struct StorageName {
  std::string_view name, element;
};

constexpr std::array kStorages = {
    StorageName{"FloatStorage", "float32"},
    StorageName{"DoubleStorage", "float64"},
    StorageName{"HalfStorage", "float16"},
    StorageName{"BFloat16Storage", "bfloat16"},
    StorageName{"LongStorage", "int64"},
    StorageName{"IntStorage", "int32"},
    StorageName{"ShortStorage", "int16"},
    StorageName{"CharStorage", "int8"},
    StorageName{"ByteStorage", "uint8"},
    StorageName{"BoolStorage", "bool"},
    StorageName{"ComplexFloatStorage", "complex64"},
    StorageName{"ComplexDoubleStorage", "complex128"},
    StorageName{"QUInt8Storage", "quint8"},
    StorageName{"QInt8Storage", "qint8"},
    StorageName{"QInt32Storage", "qint32"},
    StorageName{"QUInt4x2Storage", "quint4x2"},
    StorageName{"QUInt2x4Storage", "quint2x4"},
    StorageName{"UntypedStorage", "uint8"},
};

constexpr std::array kOthers = {
    Global{"collections", "OrderedDict", dict},
    Global{"collections", "Counter", dict},
    Global{"collections", "defaultdict", dict},
    Global{"builtins", "dict", dict},
    Global{"__builtin__", "dict", dict},
    Global{"builtins", "set", set},
    Global{"__builtin__", "set", set},
    Global{"builtins", "frozenset", set},
    Global{"__builtin__", "frozenset", set},
    Global{"builtins", "bytearray", bytes},
    Global{"__builtin__", "bytearray", bytes},
    Global{"_codecs", "encode", bytes},
    Global{"torch", "Size", size},
    Global{"torch._utils", "_rebuild_tensor", tensor},
    Global{"torch._utils", "_rebuild_tensor_v2", tensor_v2},
    Global{"torch._utils", "_rebuild_tensor_v3", tensor_v3},
    Global{"torch._utils", "_rebuild_parameter", parameter},
    Global{"torch._utils", "_rebuild_parameter_with_state", parameter},
    Global{"torch.nn.parameter", "Parameter", parameter},
    Global{"torch._tensor", "_rebuild_from_type_v2", from_type},
    Global{"torch", "Tensor", tensor_class},
    Global{"torch.storage", "UntypedStorage", storage, element_of("uint8")},
    // The types of a defaultdict's values, and complex numbers.
    Global{"builtins", "list", opaque},
    Global{"__builtin__", "list", opaque},
    Global{"builtins", "int", opaque},
    Global{"__builtin__", "int", opaque},
    Global{"builtins", "float", opaque},
    Global{"__builtin__", "float", opaque},
    Global{"builtins", "complex", opaque},
    Global{"__builtin__", "complex", opaque},
    Global{"torch", "device", opaque},
    Global{"torch", "strided", opaque},
    Global{"torch.serialization", "_get_layout", opaque},
    Global{"torch", "per_tensor_affine", opaque},
    Global{"torch", "per_tensor_symmetric", opaque},
    Global{"torch", "per_channel_affine", opaque},
    Global{"torch", "per_channel_symmetric", opaque},
    Global{"torch", "per_channel_affine_float_qparams", opaque},
    // What trainers leave beside the weights: arguments, scores, and the names of their own parts as keys.
    Global{"argparse", "Namespace", opaque},
    Global{"numpy", "dtype", opaque},
    Global{"numpy.core.multiarray", "scalar", opaque},
    Global{"numpy._core.multiarray", "scalar", opaque},
    Global{"pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", opaque},
    Global{"pytorch_lightning.utilities.parsing", "AttributeDict", dict},
    Global{"lightning_fabric.utilities.data", "AttributeDict", dict},
    Global{"lightning.fabric.utilities.data", "AttributeDict", dict},
};

constexpr auto kGlobals = [] {
  std::array<Global, kOthers.size() + kElements.size() + kStorages.size()> all{};
  std::size_t n = 0;
  for (const Global& other : kOthers) all[n++] = other;
  for (const Element& element : kElements) all[n++] = {"torch", element.name, Role::element, &element};
  for (const StorageName& name : kStorages) all[n++] = {"torch", name.name, storage, element_of(name.element)};
  return all;
}();

struct OtherTensor {
  std::string_view name, hint;
};

// Functions of torch._utils that make tensors of which there are no plain numbers.
constexpr std::array kOtherTensors = {
    OtherTensor{"_rebuild_qtensor", "it holds quantised tensors: dequantize() them and save them again"},
    OtherTensor{"_rebuild_sparse_tensor", "it holds sparse tensors: save to_dense() of them"},
    OtherTensor{"_rebuild_sparse_csr_tensor", "it holds sparse tensors: save to_dense() of them"},
    OtherTensor{"_rebuild_nested_tensor", "it holds nested tensors: save their parts"},
    OtherTensor{"_rebuild_meta_tensor_no_storage", "it holds tensors of the meta device, which have no numbers"},
    OtherTensor{"_rebuild_wrapper_subclass", "it holds tensors of a class of its own: save plain ones"},
    OtherTensor{"_rebuild_device_tensor_from_numpy", "it holds tensors of another device: save cpu() of them"},
    OtherTensor{"_rebuild_device_tensor_from_cpu_tensor", "it holds tensors of another device: save cpu() of them"},
    OtherTensor{"_rebuild_xla_tensor", "it holds tensors of another device: save cpu() of them"},
};

}  // namespace

std::span<const Global> globals() noexcept { return kGlobals; }

const Global* find_global(std::string_view module, std::string_view name) noexcept {
  for (const Global& global : kGlobals) {
    if (global.name == name && global.module == module) return &global;
  }
  return nullptr;
}

std::string hint_for_global(std::string_view module, std::string_view name) {
  if (module.starts_with("__torch__") || module.starts_with("torch.jit"))
    return "this is a TorchScript archive; load it with torch.jit.load and torch.save its state_dict()";
  for (const OtherTensor& other : kOtherTensors) {
    if (module == "torch._utils" && name == other.name) return std::string(other.hint);
  }
  return "only weights are read; where you trust the file, load it with its own program and save a plain state_dict "
         "or safetensors";
}

}  // namespace headrace::format::torch
